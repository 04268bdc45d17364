"""What a lab is made of, on disk: enough to use it and to take it down from any later process.

/run/tortie-lab/NAME/state.json, replaced whole by rename, changed only under the lab's lock. Each process that holds
namespaces is recorded in a file of its own as well (*.holder), before the state knows of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lab.namespaces import Holder, recorded
from lab.plan import BadWish

ROOT = Path("/run/tortie-lab")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")


class NoLab(Exception):
    """There is no lab, or no node, of that name."""


@dataclass(frozen=True, slots=True)
class NodeState:
    name: str
    number: int
    address: str
    holder: Holder
    address_v6: str = ""


@dataclass(frozen=True, slots=True)
class LabState:
    """``next_number`` is the next node's; ``environment`` is what every program of the lab gets."""

    name: str
    fabric: Holder
    subnet: str
    is_routed: bool
    has_ipv6: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    nodes: tuple[NodeState, ...] = ()
    next_number: int = 1

    def node(self, name: str) -> NodeState:
        """Raises NoLab."""
        for each in self.nodes:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.nodes)
        raise NoLab(f"lab {self.name} has no node {name!r}; it has {known or 'none'}")

    def with_node(self, node: NodeState) -> LabState:
        return replace(self, nodes=(*self.nodes, node), next_number=max(self.next_number, node.number + 1))

    def without_node(self, name: str) -> LabState:
        return replace(self, nodes=tuple(each for each in self.nodes if each.name != name))


def folder(name: str) -> Path:
    """Raises BadWish for a name that could not be a folder's."""
    if not _NAME.match(name):
        raise BadWish(f"--name {name!r}: lower-case letters, digits and dashes, at most 31")
    return ROOT / name


def load(name: str) -> LabState:
    """Raises NoLab."""
    try:
        raw = json.loads((folder(name) / "state.json").read_text())
    except FileNotFoundError:
        raise NoLab(f"there is no lab {name!r}: make it with: lab up --name {name}") from None
    nodes = tuple(NodeState(**{**each, "holder": Holder(**each["holder"])}) for each in raw.pop("nodes"))
    return LabState(**{**raw, "fabric": Holder(**raw["fabric"])}, nodes=nodes)


def save(state: LabState) -> None:
    path = folder(state.name) / "state.json"
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(asdict(state), indent=1))
    partial.rename(path)


def holders(name: str) -> list[Holder]:
    """Every process that holds something of this lab, also of one that never came up."""
    return [recorded(path) for path in folder(name).rglob("*.holder")]


def all_names() -> list[str]:
    """Every lab on this machine, also one that never came up or is half down."""
    return sorted(path.name for path in ROOT.iterdir() if path.is_dir()) if ROOT.is_dir() else []


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One change of a lab at a time, between processes."""
    ROOT.mkdir(mode=0o755, exist_ok=True)
    path = ROOT / f".{folder(name).name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def forget_lock(name: str) -> None:
    """After the lab is gone; the root folder goes with the last one."""
    (ROOT / f".{name}.lock").unlink(missing_ok=True)
    if ROOT.is_dir() and not any(ROOT.iterdir()):
        ROOT.rmdir()
