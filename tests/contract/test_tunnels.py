"""What Linux does with tunnels: devices, addresses and entries; the model and the real kernel say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from felix.fib import offload
from felix.fib.kernel import EntryGone, EntryNow, LinkGone, LinkNow
from felix.fib.model import (
    AddAddress,
    AddRoute,
    DeleteAddress,
    Hop,
    InterfaceAddress,
    Protocol,
    RaiseLink,
    Route,
)
from felix.fib.tunnel import (
    VXLAN_DEVICE,
    ChangeTunnel,
    DeleteEntry,
    Entry,
    Forwarding,
    MakeTunnel,
    Neighbour,
    RemoveTunnel,
    SetEntry,
    TunnelDevice,
    Vxlan,
)
from tests.contract.worlds import World, model_world, real_world


@pytest.fixture(params=[model_world, pytest.param(real_world, marks=pytest.mark.root)], ids=["model", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One node with an uplink ens33, 192.168.50.10/24."""
    make: Callable[[], AbstractContextManager[World]] = request.param
    with make() as world:
        world.person.add_link("ens33")
        world.person.set_up("ens33")
        world.person.add_address("ens33", "192.168.50.10/24")
        world.take_changes()
        yield world


VTEP = ip_address("10.244.104.0")
MAC, OTHER_MAC = "66:2d:bf:44:a6:8b", "66:2d:bf:44:a6:8c"
NODE2, NODE3 = ip_address("192.168.50.11"), ip_address("192.168.50.12")
VXLAN = TunnelDevice(
    VXLAN_DEVICE,
    1450,
    ip_address("10.244.166.128"),
    "66:f9:37:c3:7e:94",
    Vxlan(4096, 4789, ip_address("192.168.50.10"), "ens33"),
)
ADDRESS = InterfaceAddress(VXLAN_DEVICE, ip_address("10.244.166.128"), 32)
NEIGHBOUR = Neighbour(VXLAN_DEVICE, VTEP, MAC)
FORWARDING = Forwarding(VXLAN_DEVICE, MAC, NODE2)
BLOCK = Route(
    ip_network("10.244.104.0/26"), (Hop(VXLAN_DEVICE, VTEP, onlink=True),), protocol=Protocol.BOOT, mtu_bytes=1450
)


def made(world: World, tunnel: TunnelDevice = VXLAN) -> None:
    """As the reconciler does: what stands on a device comes once its birth was heard of."""
    assert world.do(MakeTunnel(tunnel)) == "done"
    world.take_changes()


def entries(world: World) -> set[Entry]:
    return {entry for entry in world.read().entries if not entry.mac.startswith("33:33")}


def test_a_vxlan_device_reads_back_as_it_was_made(world: World) -> None:
    assert world.do(MakeTunnel(VXLAN)) == "done"
    heard = [change.link for change in world.take_changes() if isinstance(change, LinkNow)][-1]
    link = world.read().links[VXLAN_DEVICE]
    assert (link.kind, link.vxlan, link.mac, link.mtu_bytes, link.is_up) == (
        "vxlan",
        VXLAN.vxlan,
        VXLAN.mac,
        1450,
        True,
    )
    assert heard == link


@pytest.mark.parametrize(
    "how",
    [
        Vxlan(1, 8472, ip_address("192.168.50.10"), "ens33", learns=True),
        Vxlan(1, 8472, ip_address("192.168.50.10"), "ens33", has_policies=True),
    ],
    ids=str,
)
def test_learning_and_group_policies_read_back_as_they_were_asked_for(world: World, how: Vxlan) -> None:
    assert world.do(MakeTunnel(replace(VXLAN, vxlan=how))) == "done"
    assert world.read().links[VXLAN_DEVICE].vxlan == how


def test_a_second_device_of_the_name_is_refused(world: World) -> None:
    made(world)
    assert world.do(MakeTunnel(replace(VXLAN, mtu_bytes=1400))) == "EEXIST"


def test_a_device_whose_parent_is_not_there_is_refused(world: World) -> None:
    vxlan = Vxlan(4096, 4789, ip_address("192.168.50.10"), "ens44")
    assert world.do(MakeTunnel(replace(VXLAN, vxlan=vxlan))) == "ENODEV"


def test_mtu_and_mac_change_in_place(world: World) -> None:
    made(world)
    index = world.read().links[VXLAN_DEVICE].index
    assert world.do(ChangeTunnel(VXLAN_DEVICE, 1400, OTHER_MAC)) == "done"
    link = world.read().links[VXLAN_DEVICE]
    assert (link.index, link.mtu_bytes, link.mac) == (index, 1400, OTHER_MAC)


def test_addresses_come_and_go(world: World) -> None:
    made(world)
    assert world.do(AddAddress(ADDRESS), AddAddress(ADDRESS)) == "done EEXIST"
    assert ADDRESS in world.read().addresses
    assert world.do(DeleteAddress(ADDRESS), DeleteAddress(ADDRESS)) == "done EADDRNOTAVAIL"
    assert ADDRESS not in world.read().addresses


def test_entries_read_back_and_are_told(world: World) -> None:
    made(world)
    assert world.do(SetEntry(FORWARDING), SetEntry(NEIGHBOUR)) == "done done"
    told = [change for change in world.take_changes() if isinstance(change, EntryNow)]
    assert told == [EntryNow(FORWARDING), EntryNow(NEIGHBOUR)]
    assert entries(world) == {FORWARDING, NEIGHBOUR}


def test_an_ipv6_neighbour_is_an_entry_as_well(world: World) -> None:
    made(world)
    neighbour = Neighbour(VXLAN_DEVICE, ip_address("fd00::1"), MAC)
    assert world.do(SetEntry(neighbour)) == "done"
    assert entries(world) == {neighbour}


def test_an_address_has_one_mac(world: World) -> None:
    made(world)
    changed = Neighbour(VXLAN_DEVICE, VTEP, OTHER_MAC)
    assert world.do(SetEntry(NEIGHBOUR), SetEntry(changed)) == "done done"
    assert entries(world) == {changed}


def test_a_deleted_entry_is_told_and_gone(world: World) -> None:
    made(world)
    world.do(SetEntry(FORWARDING), SetEntry(NEIGHBOUR))
    world.take_changes()
    assert world.do(DeleteEntry(NEIGHBOUR), DeleteEntry(FORWARDING)) == "done done"
    gone = [change.entry for change in world.take_changes() if isinstance(change, EntryGone)]
    assert {type(entry) for entry in gone} == {Neighbour, Forwarding}
    assert entries(world) == set()
    assert world.do(DeleteEntry(NEIGHBOUR), DeleteEntry(FORWARDING)) == "ENOENT ENOENT"


def test_neighbours_go_when_the_device_goes_down(world: World) -> None:
    made(world)
    world.do(SetEntry(FORWARDING), SetEntry(NEIGHBOUR))
    world.take_changes()
    world.person.set_down(VXLAN_DEVICE)
    gone = [change.entry for change in world.take_changes() if isinstance(change, EntryGone)]
    assert VTEP in [entry.address for entry in gone if isinstance(entry, Neighbour)]
    assert entries(world) == {FORWARDING}


def test_a_route_through_a_tunnel_reads_back_and_goes_with_the_device(world: World) -> None:
    made(world)
    assert world.do(AddRoute(BLOCK)) == "done"
    assert "10.244.104.0/26 via 10.244.104.0 dev vxlan.calico onlink mtu 1450\n" in world.show()
    assert world.do(RemoveTunnel(VXLAN_DEVICE)) == "done"
    assert [change.name for change in world.take_changes() if isinstance(change, LinkGone)] == [VXLAN_DEVICE]
    assert "10.244.104.0/26" not in world.show()


def test_the_last_address_takes_its_routes_with_it_without_a_word(world: World) -> None:
    made(world)
    world.do(AddAddress(ADDRESS), AddRoute(BLOCK), DeleteAddress(ADDRESS))
    assert "10.244.104.0/26" not in world.show()


def test_a_device_of_ours_that_was_lowered_is_raised(world: World) -> None:
    made(world)
    world.person.set_down(VXLAN_DEVICE)
    assert world.do(RaiseLink(VXLAN_DEVICE)) == "done"
    assert world.read().links[VXLAN_DEVICE].is_up


def test_ops_on_a_device_that_is_not_there_are_refused(world: World) -> None:
    ops = (SetEntry(NEIGHBOUR), AddAddress(ADDRESS), ChangeTunnel(VXLAN_DEVICE, 1400), RemoveTunnel(VXLAN_DEVICE))
    assert world.do(*ops) == "ENODEV ENODEV ENODEV ENODEV"


@pytest.mark.root
def test_checksums_can_be_left_to_the_processor() -> None:
    with real_world() as world:
        world.person.add_link("ens33")
        world.take_changes()
        made(world)
        assert offload.is_on(VXLAN_DEVICE)
        offload.switch_off(VXLAN_DEVICE)
        assert not offload.is_on(VXLAN_DEVICE)
