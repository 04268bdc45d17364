"""What a user's files say: documents of known kinds, each read by its kind's table.

Everything is read before anything is done: one bad document and nothing happens. The complaints are upstream's.
Source: Calico calicoctl/resourcemgr/resourcemgr.go, commands/file/iter.go, util/yaml/separator.go.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from calicoctl.kinds import KINDS_OF_USERS
from calicoctl.yaml_in import Malformed, Parsed, parse
from datastore.resource import API_VERSION
from datastore.schema import table_of
from datastore.schema.metadata import list_of
from datastore.schema.notation import Struct
from datastore.schema.reading import Unreadable, read

Document = dict[str, Any]
"""A whole object, canonical."""

STANDARD_INPUT = "-"
_SEPARATOR = re.compile(r"\n---[^\n]*(?:\n|\Z)")
_ENDINGS = (".yaml", ".yml", ".json")


@dataclass(eq=False)
class BadFile(Exception):
    """The user's mistake: a file that cannot be read, or holds something else than documents."""

    why: str

    def __str__(self) -> str:
        return self.why


def read_file(path: str, read_input: Callable[[], str]) -> list[Document]:
    """All documents of one file, or of standard input for ``-``. Raises BadFile."""
    return documents_in(text_of(path, read_input))


def documents_in(text: str) -> list[Document]:
    """All documents of a text. Raises BadFile."""
    return [document for each in _split(text) for document in documents_of(each)]


def files_of(path: str, *, is_recursive: bool) -> Iterator[str]:
    """The file itself, or those of a folder that look like manifests, in order of their names."""
    if path == STANDARD_INPUT or not os.path.isdir(path):
        yield path
        return
    for name in sorted(os.listdir(path)):
        inside = os.path.join(path, name)
        if os.path.isdir(inside):
            if is_recursive:
                yield from files_of(inside, is_recursive=True)
        elif name.lower().endswith(_ENDINGS):
            yield inside


def text_of(path: str, read_input: Callable[[], str]) -> str:
    """What a file says, or standard input for ``-``. Raises BadFile."""
    if path == STANDARD_INPUT:
        return read_input()
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise BadFile(f"open {path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise BadFile("error converting YAML to JSON: yaml: invalid leading UTF-8 octet") from None


def _split(text: str) -> list[str]:
    """The texts between lines that begin with three dashes; one at the end, or nothing at all, makes no document."""
    if not text:
        return []
    pieces = _SEPARATOR.split(text)
    return pieces[:-1] if not pieces[-1] else pieces


def documents_of(text: str) -> list[Document]:
    """The object, list of a kind, or bare list of objects that one YAML text holds. Raises BadFile."""
    try:
        parsed = parse(text)
        return _objects_of(parsed)
    except Malformed as error:
        raise BadFile(str(error)) from None
    except Unreadable as error:
        raise BadFile(f"error unmarshaling JSON: while decoding JSON: {error}") from None


def _objects_of(parsed: Parsed) -> list[Document]:
    match parsed.value:
        case dict() as whole:
            if not _has_kind(whole) or str(whole.get("apiVersion")).count("/") > 1:
                raise Unreadable(_not_a_list("object"))
            return _unpacked(_table_for(whole), whole, parsed)
        case list() as items:
            tables = [_table_for(_kinded(item)) for item in items]
            return [each for table, item in zip(tables, items, strict=True) for each in _unpacked(table, item, parsed)]
        case None:
            raise BadFile("unknown resource type () and/or version ()")
        case other:
            raise Unreadable(_not_a_list(_json_name(other)))


def _unpacked(table: Struct, whole: Any, parsed: Parsed) -> list[Document]:
    parsed.refuse_repeated()
    document = read(table, whole)
    if not document["kind"].endswith("List"):
        return [document]
    items: list[Document] = document["items"] or []
    for item in items:
        if item["kind"] != document["kind"].removesuffix("List"):
            raise BadFile(f"unknown resource type ({item['kind']}) and/or version ({item['apiVersion']})")
    return items


def _table_for(whole: Document) -> Struct:
    kind, version = whole["kind"], whole.get("apiVersion")
    version = version if isinstance(version, str) else ""
    single = kind.removesuffix("List")
    if version != API_VERSION or single not in KINDS_OF_USERS:
        raise BadFile(f"unknown resource type ({kind}) and/or version ({version})")
    return table_of(single) if single == kind else list_of(table_of(single))


def _has_kind(whole: Document) -> bool:
    return isinstance(whole.get("kind"), str) and bool(whole["kind"])


def _kinded(item: Any) -> Document:
    if not isinstance(item, dict):
        raise Unreadable(f"json: cannot unmarshal {_json_name(item)} into Go value of type map[string]interface {{}}")
    if not _has_kind(item):
        raise Unreadable(f"Object 'Kind' is missing in '{json.dumps(item, separators=(',', ':'), sort_keys=True)}'")
    return item


def _not_a_list(named: str) -> str:
    return f"json: cannot unmarshal {named} into Go value of type []unstructured.Unstructured"


def _json_name(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
