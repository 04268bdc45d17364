"""The life of a tunnel address, from the pool's edit to the pool's edit back, on the real IPAM."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from datastore.resource import Key
from datastore.resources import AllocationAttribute
from datastore.store import Unavailable
from felix.tunnel_addresses import LONGEST_DRAIN_S
from felix.tunnels import Tunnel
from ipam import facts
from ipam.release import Releaser
from ipam.writer import BlockWriter
from tests.models.tunnel_world import TunnelWorld, running, settle
from tests.unreliable import Unreliable
from tests.virtual_time import virtually

POOL = "10.244.0.0/16"
IPIP: tuple[str, dict[str, Any]] = (POOL, {"ipipMode": "Always"})
OTHER = "10.245.0.0/16"
V6 = "fd00:10:244::/48"


@virtually
async def test_the_first_address_of_the_nodes_block_is_taken_before_any_pod() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    addresses = world.process()
    async with running(addresses):
        await addresses.first_taken()
        assert await world.in_ipam() == ["10.244.166.128 ipip-tunnel-addr-node1"]
        assert await world.pod("pod1") == "10.244.166.129"
        assert await world.published() == {"ipip": "10.244.166.128"}


@virtually
async def test_nothing_is_published_before_the_device_is_ready() -> None:
    world = TunnelWorld()
    world.devices.is_up = False
    await world.prepare(IPIP)
    addresses = world.process()
    async with running(addresses):
        assert world.said[0] == "tunl0 has 10.244.166.128"
        assert await world.published() == {}
        world.devices.is_up = True
        await settle(addresses)
        assert await world.published() == {"ipip": "10.244.166.128"}


@virtually
async def test_the_address_is_kept_across_restarts() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    for _ in range(3):
        async with running(world.process()):
            await world.pod("pod1")
            assert await world.published() == {"ipip": "10.244.166.128"}
    assert await world.in_ipam() == ["10.244.166.128 ipip-tunnel-addr-node1", "10.244.166.129 pod1"]


@virtually
async def test_an_address_is_held_only_once_it_is_known_whose_it_is() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    async with running(world.process()):
        pass
    world.devices.held = {}
    unreliable = Unreliable(world.memory)
    unreliable.fail(Unavailable("away"))
    addresses = world.process(lambda _: unreliable)
    async with running(addresses):
        assert world.devices.held == {}
        assert "away" in addresses.trouble
        unreliable.recover()
        await addresses.first_taken()
        assert world.devices.held == {
            Tunnel.IPIP: ip_address("10.244.166.128"),
            Tunnel.VXLAN: None,
            Tunnel.VXLAN_V6: None,
        }
        assert world.trouble == ""


@virtually
async def test_while_every_pool_is_never_there_is_no_tunnel_address() -> None:
    world = TunnelWorld()
    await world.prepare((POOL, {}))
    addresses = world.process()
    async with running(addresses):
        await addresses.first_taken()
        assert (await world.in_ipam(), await world.handles(), await world.published()) == ([], [], {})
        assert set(world.devices.held.values()) == {None}


@virtually
async def test_an_address_goes_when_no_route_uses_its_tunnel_any_more_in_this_order() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    addresses = world.process()
    async with running(addresses):
        world.devices.busy = {Tunnel.IPIP}
        await world.edit_pool(POOL, ipipMode="Never")
        await settle(addresses)
        assert await world.published() == {"ipip": "10.244.166.128"}
        assert str(world.devices.held[Tunnel.IPIP]) == "10.244.166.128"
        world.devices.busy = set()
        await settle(addresses)
        assert (await world.in_ipam(), await world.handles(), await world.published()) == ([], [], {})
        assert world.said[-1] == "tunl0 has nothing"
        assert (await world.store.get(Key("Node", "node1"))).spec == {"bgp": {"ipv4Address": "192.168.50.10/24"}}


@virtually
async def test_an_address_stays_on_its_device_while_others_publish_theirs_but_not_for_ever() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    addresses = world.process()
    async with running(addresses):
        for is_patient in (True, False):
            before = world.devices.held[Tunnel.IPIP]
            world.devices.awaited = {Tunnel.IPIP}
            await world.edit_pool(POOL, ipipMode="Never")
            await settle(addresses)
            assert (await world.published(), world.devices.held[Tunnel.IPIP]) == ({}, before)
            if is_patient:
                world.devices.awaited = set()
                await settle(addresses)
            else:
                await asyncio.sleep(LONGEST_DRAIN_S + 1)
            assert (world.devices.held[Tunnel.IPIP], await world.in_ipam()) == (None, [])
            await world.edit_pool(POOL, ipipMode="Always")
            await settle(addresses)


@virtually
async def test_an_old_tunnels_address_is_published_until_the_new_ones_is() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    addresses = world.process()
    async with running(addresses):
        world.devices.is_up = False
        await world.edit_pool(POOL, ipipMode="Never", vxlanMode="Always")
        await settle(addresses)
        assert await world.published() == {"ipip": "10.244.166.128"}
        world.devices.is_up = True
        await settle(addresses)
        assert await world.published() == {"vxlan": "10.244.166.129"}


@virtually
async def test_a_need_that_comes_back_while_routes_still_use_the_tunnel_finds_everything_as_it_was() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    addresses = world.process()
    async with running(addresses):
        said = list(world.said)
        world.devices.busy = {Tunnel.IPIP}
        await world.edit_pool(POOL, ipipMode="Never")
        await settle(addresses)
        await world.edit_pool(POOL, ipipMode="CrossSubnet")
        await settle(addresses)
        assert world.said == said
        assert await world.published() == {"ipip": "10.244.166.128"}


@virtually
async def test_a_node_that_is_restarted_while_its_tunnel_is_still_used_holds_on_to_the_address() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    async with running(world.process()):
        pass
    await world.edit_pool(POOL, ipipMode="Never")
    world.devices.busy, world.devices.held = {Tunnel.IPIP}, {}
    addresses = world.process()
    async with running(addresses):
        assert str(world.devices.held[Tunnel.IPIP]) == "10.244.166.128"
        world.devices.busy = set()
        await settle(addresses)
        assert (await world.in_ipam(), await world.published()) == ([], {})


@virtually
async def test_a_pool_that_goes_takes_its_address_only_after_the_new_one_is_published() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP, (OTHER, {"ipipMode": "Always"}))
    addresses = world.process()
    async with running(addresses):
        assert await world.published() == {"ipip": "10.244.166.128"}
        world.devices.is_up = False
        await world.edit_pool(POOL, disabled=True)
        await settle(addresses)
        assert await world.published() == {"ipip": "10.244.166.128"}
        assert [line.split()[1] for line in await world.in_ipam()] == ["ipip-tunnel-addr-node1"] * 2
        world.devices.is_up = True
        await settle(addresses)
        assert await world.published() == {"ipip": "10.245.166.128"}
        assert await world.in_ipam() == ["10.245.166.128 ipip-tunnel-addr-node1"]
        assert [line for line in world.said if "tunl0" in line] == [
            "tunl0 has 10.244.166.128",
            "tunl0 has 10.245.166.128",
        ]


@virtually
async def test_a_pool_that_is_deleted_gives_its_address_back() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP, (OTHER, {"ipipMode": "Always"}))
    addresses = world.process()
    async with running(addresses):
        await world.delete_pool(POOL)
        await settle(addresses)
        assert await world.in_ipam() == ["10.245.166.128 ipip-tunnel-addr-node1"]
        assert await world.handles() == ["ipip-tunnel-addr-node1"]


@virtually
async def test_two_pools_of_two_modes_give_one_node_two_addresses() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP, (OTHER, {"vxlanMode": "CrossSubnet"}), (V6, {"vxlanMode": "Always"}))
    addresses = world.process()
    async with running(addresses):
        published = await world.published()
        assert published["ipip"] == "10.244.166.128"
        assert published["vxlan"] == "10.245.166.128"
        assert published["vxlan-v6"].startswith("fd00:10:244:")
        await world.edit_pool(POOL, ipipMode="Never")
        await settle(addresses)
        del published["ipip"]
        assert await world.published() == published


@virtually
async def test_a_switch_from_ipip_to_vxlan_takes_the_one_and_gives_the_other_back() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    addresses = world.process()
    async with running(addresses):
        world.devices.busy = {Tunnel.IPIP}
        await world.edit_pool(POOL, ipipMode="Never", vxlanMode="Always")
        await settle(addresses)
        assert await world.published() == {"ipip": "10.244.166.128", "vxlan": "10.244.166.129"}
        world.devices.busy = {Tunnel.VXLAN}
        await settle(addresses)
        assert await world.published() == {"vxlan": "10.244.166.129"}
        assert await world.in_ipam() == ["10.244.166.129 vxlan-tunnel-addr-node1"]


@virtually
async def test_an_address_that_is_published_and_another_holds_is_left_to_him() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    assert await world.pod("pod1") == "10.244.166.128"
    await world.edit_node(bgp={"ipv4Address": "192.168.50.10/24", "ipv4IPIPTunnelAddr": "10.244.166.128"})
    async with running(world.process()):
        assert await world.published() == {"ipip": "10.244.166.129"}
        assert await world.in_ipam() == ["10.244.166.128 pod1", "10.244.166.129 ipip-tunnel-addr-node1"]


@virtually
async def test_an_address_that_is_published_and_nobody_holds_is_replaced() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    await world.edit_node(bgp={"ipv4Address": "192.168.50.10/24", "ipv4IPIPTunnelAddr": "10.244.9.9"})
    async with running(world.process()):
        assert await world.published() == {"ipip": "10.244.166.128"}


@virtually
async def test_an_address_from_before_there_were_handles_is_kept_and_gets_one() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    await _hold_without_name(world, "10.244.166.128")
    async with running(world.process()):
        assert await world.published() == {"ipip": "10.244.166.128"}
        assert await world.in_ipam() == ["10.244.166.128 ipip-tunnel-addr-node1"]


@virtually
async def test_an_address_from_before_there_were_handles_is_given_back_when_all_is_never() -> None:
    world = TunnelWorld()
    await world.prepare((POOL, {}))
    await _hold_without_name(world, "10.244.166.128")
    async with running(world.process()):
        assert (await world.in_ipam(), await world.published()) == ([], {})


async def _hold_without_name(world: TunnelWorld, address: str) -> None:
    """As Calico before handles had it: the allocation has no attribute."""
    assert await world.pod("old") == address
    ((_, block),) = (await world.records.blocks()).items()
    await world.records.write_block(replace(block, attributes=(AllocationAttribute(),)))
    await world.store.delete(Key("IPAMHandle", "old"))
    await world.edit_node(bgp={"ipv4Address": "192.168.50.10/24", "ipv4IPIPTunnelAddr": address})


@virtually
async def test_an_address_whose_handle_was_deleted_by_hand_is_still_ours_and_is_given_back() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    async with running(world.process()):
        pass
    await world.store.delete(Key("IPAMHandle", "ipip-tunnel-addr-node1"))
    addresses = world.process()
    async with running(addresses):
        assert await world.published() == {"ipip": "10.244.166.128"}
        await world.edit_pool(POOL, ipipMode="Never")
        await settle(addresses)
        assert (await world.in_ipam(), await world.published()) == ([], {})


@virtually
async def test_an_exhausted_pool_is_told_does_not_stop_pods_and_is_tried_again() -> None:
    world = TunnelWorld()
    await world.prepare(("10.9.0.0/32", {"ipipMode": "Always", "blockSize": 32}))
    assert await world.pod("pod1") == "10.9.0.0"
    await world.add_pool(OTHER, vxlanMode="Always")
    addresses = world.process()
    async with running(addresses):
        await addresses.first_taken()
        assert await world.published() == {"vxlan": "10.245.166.128"}
        assert world.trouble.startswith("ipip tunnel address: Assigned 0 out of 1 requested IPv4 addresses")
        await _release(world, "pod1")
        await asyncio.sleep(20)
        assert await world.published() == {"ipip": "10.9.0.0", "vxlan": "10.245.166.128"}
        assert world.trouble == ""


async def _release(world: TunnelWorld, handle: str) -> None:
    async def read() -> facts.Facts:
        return await facts.read(world.store, "node1")

    releaser = Releaser(world.store, BlockWriter(world.records), facts=read, wall_ns=world.wall_ns)
    await releaser.release_handles([handle])


@virtually
async def test_a_store_that_is_away_loses_nothing_and_is_asked_again_without_being_called() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    unreliable = Unreliable(world.memory)
    unreliable.fail(Unavailable("the datastore is away"))
    addresses = world.process(lambda _: unreliable)
    async with running(addresses):
        assert world.trouble.startswith("ipip tunnel address: the datastore is away")
        unreliable.recover()
        await asyncio.sleep(20)
        assert await world.published() == {"ipip": "10.244.166.128"}
        assert (world.trouble, addresses.trouble) == ("", "")


@virtually
async def test_pods_wait_only_so_long_for_a_node_that_is_not_known_yet() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP, node=False)
    addresses = world.process()
    async with running(addresses):
        await addresses.first_taken()
        assert await world.in_ipam() == []
        await world.add_node()
        await settle(addresses)
        assert await world.published() == {"ipip": "10.244.166.128"}


@virtually
async def test_a_node_that_was_deleted_with_its_addresses_takes_one_again_when_it_is_made_again() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    addresses = world.process()
    async with running(addresses):
        await _release(world, "ipip-tunnel-addr-node1")
        await world.store.delete(Key("Node", "node1"))
        await world.add_node()
        await settle(addresses)
        assert (await world.published()).keys() == {"ipip"}
        assert len(await world.in_ipam()) == 1


@virtually
async def test_a_node_that_is_deleted_in_the_middle_of_trouble_is_waited_for_in_peace() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP)
    unreliable = Unreliable(world.memory)
    unreliable.fail(Unavailable("the datastore is away"))
    addresses = world.process(lambda _: unreliable)
    async with running(addresses):
        assert world.trouble
        await world.store.delete(Key("Node", "node1"))
        asked = len(unreliable.calls)
        await asyncio.sleep(60)
        assert (world.trouble, len(unreliable.calls)) == ("", asked)
        unreliable.recover()
        await world.add_node()
        await settle(addresses)
        assert await world.published() == {"ipip": "10.244.166.128"}


@virtually
async def test_when_nothing_changes_the_store_is_not_asked() -> None:
    world = TunnelWorld()
    await world.prepare(IPIP, (OTHER, {"vxlanMode": "Always"}))
    unreliable = Unreliable(world.memory)
    addresses = world.process(lambda _: unreliable)
    async with running(addresses):
        unreliable.calls.clear()
        await settle(addresses)
        assert unreliable.calls == []


@pytest.mark.parametrize("edit", [{"ipipMode": "Never"}, {"disabled": True}, {"nodeSelector": "has(nothing)"}])
def test_what_ends_the_need_ends_the_address(edit: dict[str, Any]) -> None:
    @virtually
    async def scenario() -> None:
        world = TunnelWorld()
        await world.prepare(IPIP)
        addresses = world.process()
        async with running(addresses):
            await world.edit_pool(POOL, **edit)
            await settle(addresses)
            assert (await world.in_ipam(), await world.handles(), await world.published()) == ([], [], {})

    scenario()
