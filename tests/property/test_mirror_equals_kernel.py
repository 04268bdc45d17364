"""Whatever happens to a kernel, a mirror that is not stale shows what a full read shows."""

from __future__ import annotations

import asyncio
from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st

from felix.fib.mirror import Mirror
from felix.fib.model import Actual, AddRoute, DeleteRoute, RaiseLink, ReplaceRoute, Route
from felix.fib.model_kernel import ModelKernel
from tests.small_world import OWNERSHIP, any_route, fresh_kernel

UPLINK = ip_interface("192.168.53.10/24")


def steps() -> st.SearchStrategy[tuple[str, object]]:
    device = st.sampled_from(["ens33", "cali1", "cali2"])
    return st.one_of(
        st.tuples(st.sampled_from(["add", "replace", "delete", "append", "prepend"]), any_route),
        st.tuples(st.sampled_from(["up", "down"]), device),
        st.tuples(st.sampled_from(["lose", "read", "renew", "address off", "address on"]), st.none()),
    )


def take(kernel: ModelKernel, verb: str, thing: object) -> None:
    match verb, thing:
        case "add", Route() as route:
            kernel.do(AddRoute(route))
        case "replace", Route() as route:
            kernel.do(ReplaceRoute(route, route))
        case "delete", Route() as route:
            kernel.do(DeleteRoute(route))
        case (("append" | "prepend"), Route() as route):
            kernel.append(route, first=verb == "prepend")
        case "up", str(device):
            kernel.do(RaiseLink(device))
        case "down", str(device):
            kernel.set_down(device)
        case "lose", _:
            kernel.lose()
        case "renew", _:
            kernel.delete_link("cali1")
            kernel.add_link("cali1")
        case "address off", _ if UPLINK.ip in {one.address for one in read(kernel).addresses}:
            kernel.delete_address("ens33", UPLINK)
        case "address on", _ if UPLINK.ip not in {one.address for one in read(kernel).addresses}:
            kernel.add_address("ens33", UPLINK)


def read(kernel: ModelKernel) -> Actual:
    return asyncio.run(kernel.read())


@given(st.lists(steps(), max_size=20))
def test_a_mirror_that_is_not_stale_shows_what_a_read_shows(history: list[tuple[str, object]]) -> None:
    kernel, mirror = fresh_kernel(), Mirror()
    mirror.load(read(kernel))
    for verb, thing in history:
        take(kernel, verb, thing)
        if verb == "read":
            mirror.load(read(kernel))
        for change in kernel.take_changes():
            mirror.note(change, OWNERSHIP)
        if not mirror.is_stale:
            assert mirror.actual == read(kernel), verb


@given(st.lists(steps(), max_size=20), st.integers(0, 20))
def test_changes_that_were_told_before_a_read_do_no_harm(history: list[tuple[str, object]], read_at: int) -> None:
    kernel, mirror = fresh_kernel(), Mirror()
    for place, (verb, thing) in enumerate(history):
        take(kernel, verb, thing)
        if place == read_at:
            mirror.load(read(kernel))
    for change in kernel.take_changes():
        mirror.note(change, OWNERSHIP)
    assert mirror.is_stale or mirror.actual == read(kernel)


@given(st.lists(steps(), max_size=20))
def test_surroundings_are_what_a_mirror_of_a_fresh_read_has(history: list[tuple[str, object]]) -> None:
    kernel, mirror = fresh_kernel(), Mirror()
    mirror.load(read(kernel))
    for verb, thing in history:
        mirror.surroundings(OWNERSHIP)
        take(kernel, verb, thing)
        for change in kernel.take_changes():
            mirror.note(change, OWNERSHIP)
        if mirror.is_stale:
            mirror.load(read(kernel))
        fresh = Mirror()
        fresh.load(read(kernel))
        here, there = mirror.surroundings(OWNERSHIP), fresh.surroundings(OWNERSHIP)
        assert (here.links, here.addresses, set(here.routes)) == (there.links, there.addresses, set(there.routes))
