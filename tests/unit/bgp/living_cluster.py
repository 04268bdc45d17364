"""Five nodes in a full mesh, each a speaker with its own view of one datastore, whose objects a test edits."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network

from bgp.peering import Peering
from bgp.speaker import Wanted
from bgp.view import KINDS, View
from datastore.codec import Typed
from datastore.follow import Batch
from tests.speakers import Station, World, all_established, until
from tests.unit.bgp.cluster import affinity, node, pool

NODES = range(1, 6)
REFLECTORS = (4, 5)
POOL = pool("default", "10.244.0.0/16")


def nodes(*reflectors: int) -> list[Typed]:
    return [
        node(
            f"node{n}",
            f"10.0.0.{n}/24",
            labels={"reflector": ""} if n in REFLECTORS else {},
            **({"routeReflectorClusterID": "1.0.0.1"} if n in reflectors else {}),
        )
        for n in NODES
    ]


@dataclass
class Cluster:
    """Stations that do as the datastore says, each with a view of its own."""

    world: World
    stations: list[Station]

    def apply(self, *objects: Typed, to: Iterable[int] = NODES) -> None:
        affinities = [affinity(each.name, each.blocks[0]) for each in self.stations]
        for number in to:
            station = self.stations[number - 1]
            view = View(station.name)
            for kind in KINDS:
                every = (
                    *objects,
                    *(() if any(each.resource.kind == "IPPool" for each in objects) else (POOL,)),
                    *affinities,
                )
                view.apply(Batch(kind, True, tuple(each.resource for each in every if each.resource.kind == kind)))
            station.speaker.judge_by(view.ownership())
            station.speaker.apply(
                Wanted(
                    router_id=IPv4Address(view.router_id("")),
                    neighbours=view.mesh().neighbours,
                    exports=view.exports(frozenset(map(ip_network, station.blocks))),
                    are_exports_known=True,
                    is_settled=True,
                    listen=view.listen(),
                    policy=view.policy(),
                    nodes=view.nodes(),
                )
            )

    def sessions(self) -> dict[tuple[int, int], tuple[Peering, int]]:
        """Of each pair, as the first of the two has it: what is the same only while the session is the same."""
        return {
            (here, int(str(each.neighbour.address).rpartition(".")[2])): (each, each.counters["established"])
            for here in NODES
            for each in self.stations[here - 1].speaker.peerings.values()
        }

    def names(self, number: int) -> list[str]:
        return sorted(self.stations[number - 1].speaker.peerings)

    def gone(self) -> list[str]:
        return [str(dst) for each in self.stations for delta in each.told for dst in delta.gone]

    def is_whole(self) -> bool:
        return all(len(each.routes) == len(NODES) - 1 for each in self.stations)


async def meshed() -> Cluster:
    world = World()
    cluster = Cluster(world, [world.station(n, f"10.244.{n}.0/26") for n in NODES])
    for station in cluster.stations:
        await station.start()
    cluster.apply(*nodes())
    await until(lambda: all_established(cluster.stations) and cluster.is_whole())
    for station in cluster.stations:
        station.told.clear()
    return cluster
