"""Labs for tests: one of three nodes that many tests share, and own ones for tests that break things."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cluster, state
from tests.lab.testbed import Testbed


@pytest.fixture(scope="session", autouse=True)
def no_labs_of_dead_runs() -> None:
    """A run that was killed could not take its labs down."""
    for name in state.all_names():
        owner = re.match(r"t(\d+)-", name)
        if owner and not Path("/proc", owner[1]).exists():
            cluster.down(name)


def _name(purpose: str) -> str:
    return f"t{os.getpid()}-{purpose}"


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Testbed]:
    """Three nodes, up for the whole session. A test leaves it as it found it, but for pods of its own names."""
    yield from lab_of(cluster.Wish(name=_name("shared")))


@pytest.fixture
def own_lab() -> Iterator[Testbed]:
    """Three nodes for one test, which may break whatever it wants."""
    yield from lab_of(cluster.Wish(name=_name("own")))


@pytest.fixture(scope="session")
def vxlan_lab() -> Iterator[Testbed]:
    """Three nodes with a pod each, in VXLAN. A test leaves it as it found it."""
    yield from furnished(cluster.Wish(name=_name("vxlan"), vxlan="Always"), "vxlan.calico")


def furnished(wish: cluster.Wish, tunnel: str) -> Iterator[Testbed]:
    """A lab with a pod on each node, when every node reaches every other through that device."""
    labs = lab_of(wish)
    bed = next(labs)
    for node in bed.lab.nodes:
        bed.add_pod(node.name, "resident")
    others = len(bed.lab.nodes) - 1
    bed.eventually(
        lambda: all(bed.routes(node.name).count(f" dev {tunnel} ") == others for node in bed.lab.nodes),
        what=f"every node reaches every other through {tunnel}",
    )
    yield bed
    next(labs, None)


@pytest.fixture
def routed_lab() -> Iterator[Testbed]:
    """Three nodes, the last of them behind a router."""
    yield from lab_of(cluster.Wish(name=_name("routed"), is_routed=True))


def lab_of(wish: cluster.Wish) -> Iterator[Testbed]:
    lab = cluster.up(wish, lambda line: None)
    try:
        yield Testbed(lab)
    finally:
        if state.folder(wish.name).exists():
            cluster.down(wish.name)
