"""The ways in which a pool's packets can be sent, and how a test turns one into another on a running lab."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import permutations

from lab import namespaces
from lab.node import environment_of
from tests.lab.testbed import Testbed

MODES = {
    "direct": ("Never", "Never"),
    "ipip": ("Always", "Never"),
    "ipip CrossSubnet": ("CrossSubnet", "Never"),
    "vxlan": ("Never", "Always"),
    "vxlan CrossSubnet": ("Never", "CrossSubnet"),
}
"""ipipMode and vxlanMode."""


def circuit(modes: Sequence[str]) -> list[str]:
    """A walk that begins at the first mode and makes every switch from one to another exactly once."""
    left = {mode: [other for one, other in permutations(modes, 2) if one == mode] for mode in modes}
    walk, stack = [], [modes[0]]
    while stack:
        if left[stack[-1]]:
            stack.append(left[stack[-1]].pop())
        else:
            walk.append(stack.pop())
    return walk[::-1]


def switch(lab: Testbed, mode: str, pool: str = "default-ipv4-ippool") -> None:
    """``calicoctl patch ippool``."""
    ipip, vxlan = MODES[mode]
    patch = json.dumps({"spec": {"ipipMode": ipip, "vxlanMode": vxlan}})
    calicoctl(lab, "patch", "ippool", pool, "-p", patch)


def calicoctl(lab: Testbed, *words: str) -> str:
    status, output = namespaces.run_inside(
        lab.lab.fabric, ["calicoctl", *words], environment=environment_of("", lab.lab.environment)
    )
    assert status == 0, output.decode()
    return output.decode()


def device(mode: str, *, is_far: bool) -> str:
    """Through which a block of a node is reached."""
    if mode == "direct" or (mode.endswith("CrossSubnet") and not is_far):
        return "ens33"
    return "tunl0" if mode.startswith("ipip") else "vxlan.calico"


def has_switched(lab: Testbed, mode: str, *, far: Sequence[str] = ()) -> bool:
    """Whether every route of every node to another's block goes through the device of ``mode``."""
    return all(way == device(mode, is_far=is_far) for way, is_far in _ways(lab, far))


def _ways(lab: Testbed, far: Sequence[str]) -> Iterator[tuple[str, bool]]:
    blocks = {_own_block(lab.routes(node.name)): node.name for node in lab.lab.nodes}
    for node in lab.lab.nodes:
        for line in lab.routes(node.name).splitlines():
            words = line.split()
            holder = blocks.get(words[0])
            if holder is not None and holder != node.name:
                yield words[words.index("dev") + 1], (holder in far) != (node.name in far)


def _own_block(table: str) -> str:
    return next((line.split()[1] for line in table.splitlines() if line.startswith("blackhole")), "")
