"""The original's calicoctl, which CALICOCTL names, and ours: given the same words they print the same, end with the
same status, and leave the same in etcd.
"""

from __future__ import annotations

import base64
import copy
import difflib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.etcd_server import EtcdServer, needs_etcd, shared_server
from tests.unit.calicoctl.shell import GOLDEN, Shown
from tests.unit.calicoctl.test_on_etcd import EtcdShell

pytestmark = pytest.mark.server

Json = dict[str, Any]
Path = tuple[str | int, ...]

DOCUMENTS: list[Json] = list(yaml.safe_load_all((GOLDEN / "every_kind.yaml").read_text()))
FORMS = ("", "-o wide", "-o yaml", "-o json", "-o name", "-A", "-n prod")
VALUES = ["", "Foo bar!", -1, 5_000_000_000, 1.5, True, None, [], {}, "10.0.0.0/33", "fd00::1", "10s", "has("]
NAMES = ["", "A", "a_b", "x" * 254, "node.x"]

_VARYING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r'(resourceVersion"?: ?)"?\d+"?'), r"\1REVISION"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "GUID"),
)
_ON_PURPOSE = re.compile(r"(\[stderr\] )?Note: network policies are stored, and NOT ENFORCED\n")
_EXCUSED = ("goroutine ", ".secretKeyRef.LocalObjectReference.name ")
"""Where the original panics, and where Go tells that a structure stands in another (and takes no number for text)."""
_IPAMS_OWN = "/calico/ipam/v2/config"
"""The original has two IPAM configurations that know nothing of each other, ours writes both."""


@dataclass
class Pair:
    theirs: EtcdServer
    program: str
    ours: EtcdShell

    def differ(self, words: str, document: Json | None = None) -> str:
        """Both, where they differ."""
        given = yaml.safe_dump(document) if document is not None else ""
        theirs = _plain(f"{self._theirs(words, given)}\n{_dump(self.theirs)}")
        ours = _plain(f"{self.ours(words, given)}\n{_dump(shared_server())}")
        if ours == theirs or any(each in theirs for each in _EXCUSED):
            return ""
        lines = difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "theirs", "ours", n=0, lineterm="")
        return "\n".join((words, given, *lines, ""))

    def _theirs(self, words: str, given: str) -> Shown:
        done = subprocess.run(
            [self.program, *shlex.split(words)],
            input=given,
            capture_output=True,
            text=True,
            env={"DATASTORE_TYPE": "etcdv3", "ETCD_ENDPOINTS": str(self.theirs.endpoint)},
            check=False,
        )
        return Shown(done.stdout, done.stderr, done.returncode)


@pytest.fixture
def pair() -> Iterator[Pair]:
    program = shutil.which(os.environ.get("CALICOCTL", ""))
    if program is None:
        pytest.skip("CALICOCTL names no program: set it to the original's calicoctl")
    needs_etcd()
    shared_server().clear()
    theirs = EtcdServer().start()
    try:
        yield Pair(theirs, program, EtcdShell())
    finally:
        theirs.remove()


EACH = pytest.mark.parametrize("document", DOCUMENTS, ids=[each["kind"] for each in DOCUMENTS])


@EACH
def test_every_kind_is_made_shown_changed_and_deleted_alike(pair: Pair, document: Json) -> None:
    kind, shown = document["kind"], [f"get {document['kind']} {form}" for form in FORMS]
    differences = [pair.differ(words, document) for words in ("create -f -", "create -f -", "apply -f -")]
    differences += [pair.differ(words) for words in shown]
    differences += [pair.differ(f"label {kind} {document['metadata']['name']} a=b -n prod")]
    differences += [pair.differ(words, document) for words in ("replace -f -", "delete -f -", "delete -f -")]
    differences += [pair.differ(words) for words in shown]
    _expect_none(differences)


@EACH
def test_documents_without_a_field_are_taken_or_refused_alike(pair: Pair, document: Json) -> None:
    pair.differ("apply -f -", document)
    _expect_none([pair.differ("replace -f -", _without(document, path)) for path in _paths(document["spec"])])


@EACH
@pytest.mark.long
def test_documents_with_a_bad_value_are_taken_or_refused_alike(pair: Pair, document: Json) -> None:
    pair.differ("apply -f -", document)
    bad = [_with(document, ("spec", *path), value) for path in _paths(document["spec"]) for value in VALUES]
    bad += [_with(document, ("metadata", "name"), name) for name in NAMES]
    _expect_none([pair.differ("replace -f -", each) for each in bad])


def _expect_none(differences: list[str]) -> None:
    told = "\n".join(filter(None, differences))
    assert not told, told


def _plain(text: str) -> str:
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return _ON_PURPOSE.sub("", text)


def _dump(server: EtcdServer) -> str:
    pairs = json.loads(server.ctl("get", "/", "--prefix", "-w", "json")).get("kvs", [])
    texts = {_text(each["key"]): _text(each.get("value", "")) for each in pairs}
    return "".join(f"{key} = {value}\n" for key, value in texts.items() if key != _IPAMS_OWN)


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def _paths(value: Any, above: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*above, key)
        yield from _paths(each, (*above, key))


def _with(document: Json, path: Path, value: Any) -> Json:
    changed = copy.deepcopy(document)
    _parent(changed, path)[path[-1]] = value
    return changed


def _without(document: Json, path: Path) -> Json:
    changed = copy.deepcopy(document)
    del _parent(changed, ("spec", *path))[path[-1]]
    return changed


def _parent(document: Json, path: Path) -> Any:
    inside: Any = document
    for key in path[:-1]:
        inside = inside[key]
    return inside
