"""A plan of what is stored changes nothing, and what a plan foretells is what the next one starts from."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.calicoctl.pods import add_pod
from tests.unit.calicoctl.test_plan import MODES, NODES, PODS, Cluster, pool

_flags = ("natOutgoing: true", "disabled: true", "disableBGPExport: true", "nodeSelector: \"rack == 'a'\"")
specs = st.builds(
    lambda mode, flags: f"{{{', '.join(each for each in (mode.strip('{}'), *flags) if each)}}}",
    st.sampled_from(sorted(MODES.values())),
    st.lists(st.sampled_from(_flags), unique=True),
)


def told(cluster: Cluster, spec: str) -> dict[str, Any]:
    shown = cluster.plan(pool(spec), "-o json")
    found: dict[str, Any] = json.loads(shown.out)
    assert (shown.status == 0) == (found["summary"] == "3 nodes: nothing changes")
    return found


def lines(found: dict[str, Any], side: str) -> set[tuple[str, str]]:
    """Of routes and devices that change, by node."""
    nodes = found["nodes"]
    return {(node["name"], one[side]) for node in nodes for one in (*node["routes"], *node["devices"]) if one[side]}


@settings(max_examples=60, deadline=None)
@given(st.lists(specs, min_size=2, max_size=4))
def test_edit_after_edit_comes_out_as_foretold(edits: list[str]) -> None:
    cluster = Cluster()
    cluster.apply(pool() + NODES)
    for where, name, address in PODS:
        add_pod(cluster, where, name, address)
    cluster.apply(pool(edits[0]))
    for now, then in pairwise(edits):
        there = told(cluster, then)
        cluster.apply(pool(then))
        assert cluster.plan(pool(then)).status == 0
        assert lines(there, "after") <= lines(told(cluster, now), "before")
