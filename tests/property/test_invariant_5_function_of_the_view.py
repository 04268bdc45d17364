"""Outputs are a function of current inputs (invariant 5): what was kept from before never shows."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from bgp.learned import Delta, InSync, Snapshot
from datastore.resource import Key
from felix.desired import Desirer, desire
from felix.view import KINDS, View
from tests.clusters import affinity, block, foreign, learned, network, node, pod, pool, surroundings

BLOCKS = [f"10.244.0.{n * 64}/26" for n in range(4)]
Step = Callable[[View], object]


def steps() -> st.SearchStrategy[Step]:
    cidr, last = st.sampled_from(BLOCKS), st.integers(10, 13)
    subnet = st.sampled_from(["192.168.50", "192.168.51"])
    modes = st.sampled_from([{}, {"ipipMode": "CrossSubnet"}, {"vxlanMode": "CrossSubnet"}, {"ipipMode": "Always"}])
    return st.one_of(
        st.builds(lambda spec: lambda view: view.put(pool(**spec)), modes),
        st.builds(lambda n, net: lambda view: view.put(node(f"node{n}", f"{net}.{n}/24")), last, subnet),
        st.builds(lambda n, c: lambda view: view.put(block(f"node{n}", c)), last, cidr),
        st.builds(lambda n, c: lambda view: view.put(affinity(f"node{n}", c)), last, cidr),
        st.builds(lambda n: lambda view: view.put(pod("node10", f"p{n}", f"10.244.0.{n}/32")), last),
        st.builds(lambda n: lambda view: view.gone(Key("Node", f"node{n}")), last),
        st.just(lambda view: view.gone(Key("IPPool", "default-ipv4-ippool"))),
        st.builds(lambda c, n: lambda view: view.hear(Delta(best=(learned(c, f"192.168.50.{n}"),))), cidr, last),
        st.builds(lambda c: lambda view: view.hear(Delta(gone=(network(c),))), cidr),
        st.just(lambda view: view.hear(Snapshot(()))),
        st.just(lambda view: view.hear(InSync())),
        st.just(lambda view: view.see(surroundings())),
        st.just(lambda view: view.see(surroundings(foreign("0.0.0.0/0", "192.168.50.1")))),
    )


@given(st.lists(steps(), max_size=30))
def test_what_is_desired_step_by_step_is_what_is_desired_afresh(history: list[Step]) -> None:
    view, desirer = View("node10"), Desirer()
    for kind in KINDS:
        view.listed(kind)
    for step in history:
        step(view)
        assert desirer.desire(view) == desire(view)
