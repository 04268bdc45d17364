"""What ``get -o`` makes of objects: tables, YAML, JSON, or what a template says. Pure.

A list is printed object by object: however long it is, no second copy of it is made.
Source: Calico calicoctl/commands/common/printer.go, commands/get_command.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from calicoctl.failure import Failure
from calicoctl.objects import Document, Objects, document_of
from datastore.resource import API_VERSION, Resource

Found = Resource | Objects


class Results(NamedTuple):
    """What was found, in the order in which it was asked for; ``as_number`` is that of nodes without their own."""

    found: Sequence[Found]
    as_number: str = ""


Printer = Callable[[Results], Iterator[str]]


def printer_for(output: str, *, with_namespace: bool) -> Printer:
    """Raises Failure for an unknown format."""
    match output:
        case "yaml" | "yml":
            return _yaml
        case "json":
            return _json
        case "ps" | "wide":
            return lambda results: _tables(results, (), is_wide=output == "wide", with_namespace=with_namespace)
    kind, _, value = output.partition("=")
    if kind not in _MISSING:
        raise Failure(f"unrecognized output format '{output}'")
    if not value:
        raise Failure(f"need to specify {_MISSING[kind]}")
    match kind:
        case "custom-columns":
            wanted = tuple(value.split(","))
            return lambda results: _tables(results, wanted, is_wide=False, with_namespace=False)
        case "go-template":
            return lambda results: _template(results, value)
        case _:
            return lambda results: _template(results, _text_of(value))


_MISSING = {
    "custom-columns": "at least one column",
    "go-template": "a template",
    "go-template-file": "a template file",
}


def shows_as_numbers(output: str) -> bool:
    return output == "wide" or output.startswith("custom-columns=")


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise Failure(f"open {path}: {(error.strerror or str(error)).lower()}") from None


# --- tables -------------------------------------------------------------------------------------------------------


def _tables(results: Results, wanted: tuple[str, ...], *, is_wide: bool, with_namespace: bool) -> Iterator[str]:
    """One for each thing that was asked for, and an empty line after it."""
    from calicoctl import table
    from calicoctl.columns import DEFAULT_AS_NUMBER, Row, headings_for, rows_of

    for found in results.found:
        headings = headings_for(found.kind, wanted=wanted, is_wide=is_wide, with_namespace=with_namespace)
        resources = found.items if isinstance(found, Objects) else (found,)
        rows = (Row(resource, results.as_number or DEFAULT_AS_NUMBER) for resource in resources)
        yield from table.lines(headings, rows_of(found.kind, headings, rows))
        yield "\n"


# --- documents ----------------------------------------------------------------------------------------------------


def _yaml(results: Results) -> Iterator[str]:
    from calicoctl import yaml_out

    match results.found:
        case [Objects(items=(_, *_)) as found]:
            yield f"apiVersion: {API_VERSION}\nitems:\n"
            for item in found.items:
                yield "".join(yaml_out.item_lines(document_of(item)))
            yield from yaml_out.lines({"kind": f"{found.kind}List", "metadata": _metadata_of(found)})
        case several:
            yield from yaml_out.lines(_one_or_all(several))


def _json(results: Results) -> Iterator[str]:
    from calicoctl import json_out

    match results.found:
        case [Objects(items=(_, *_)) as found]:
            before, after = json_out.text(_list_document(found, items=[])).split("[]")
            yield f"{before}["
            for at, item in enumerate(found.items):
                yield ",\n" if at else "\n"
                yield json_out.indented(document_of(item), depth=2)
            yield f"\n  ]{after}"
        case several:
            yield json_out.text(_one_or_all(several))


def _one_or_all(found: Sequence[Found]) -> Any:
    """A single thing stands for itself; nothing at all is null."""
    documents = [_whole(each) for each in found]
    if len(documents) == 1:
        return documents[0]
    return documents or None


def _whole(found: Found) -> Document:
    if isinstance(found, Objects):
        return _list_document(found, items=[document_of(item) for item in found.items])
    return document_of(found)


def _list_document(found: Objects, items: list[Document]) -> Document:
    return {
        "kind": f"{found.kind}List",
        "apiVersion": API_VERSION,
        "metadata": _metadata_of(found),
        "items": items,
    }


def _metadata_of(found: Objects) -> dict[str, str]:
    return {"resourceVersion": found.revision}


def _template(results: Results, template: str) -> Iterator[str]:
    from calicoctl.template import Value, render
    from datastore.schema import table_of
    from datastore.schema.metadata import list_of

    tables = {each.kind: table_of(each.kind) for each in results.found}
    values = [
        Value(list_of(tables[each.kind]) if isinstance(each, Objects) else tables[each.kind], _whole(each))
        for each in results.found
    ]
    yield render(template, values)
