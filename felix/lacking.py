"""What it means that the kernel makes no device for a tunnel that pools ask for (no module ipip, say). Pure.

Packets are sent directly then, so all goes well between nodes of one subnet, and nothing is said by what works. A node
behind a router gets none of them: then this node is not ready, and says to whom nothing comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from datastore.events import Event
from datastore.resource import Key
from datastore.resources import EncapMode, IPPool, Node
from felix.choose import Peer, choose, is_same_subnet
from felix.tunnels import Tunnel

_MODULES = {Tunnel.IPIP: "ipip", Tunnel.VXLAN: "vxlan", Tunnel.VXLAN_V6: "vxlan"}


@dataclass(frozen=True, slots=True)
class Lack:
    """``why`` in the kernel's words; ``pools`` that ask for the tunnel; ``unreached``: nodes that get no packets."""

    tunnel: Tunnel
    why: str
    pools: tuple[str, ...]
    unreached: tuple[str, ...]

    def __str__(self) -> str:
        module = _MODULES[self.tunnel]
        told = f"{self.tunnel.device}, which pool {', '.join(self.pools)} asks for, cannot be made: {self.why}"
        remedy = f"see whether the kernel has the module {module} (modprobe {module})"
        instead = "until then packets go without encapsulation"
        if self.unreached:
            instead += f", and NOT AT ALL to {', '.join(self.unreached)}, beyond a router"
        return f"{told}; {remedy}; {instead}"

    def event(self, node: str) -> Event:
        return Event(Key("Node", node), "TunnelMissing", str(self))


def lacks(
    refused: Mapping[str, str], pools: Iterable[IPPool], me: Node, others: Iterable[Node], up: Set[Tunnel]
) -> Iterator[Lack]:
    """``refused``: why the kernel makes no device of that name; ``up``: the tunnels whose device here is up."""
    known, peers = list(pools), list(others)
    for tunnel in Tunnel:
        asking = [pool for pool in known if tunnel.mode(pool) is not EncapMode.NEVER]
        if tunnel.device not in refused or not asking:
            continue
        unreached = (node.name for node in peers if not any(_is_reached(pool, me, node, tunnel, up) for pool in asking))
        yield Lack(tunnel, refused[tunnel.device], tuple(pool.name for pool in asking), tuple(unreached))


def _is_reached(pool: IPPool, me: Node, node: Node, tunnel: Tunnel, up: Set[Tunnel]) -> bool:
    interface = node.ipv4 if tunnel.version == 4 else node.ipv6
    if interface is None or node.name == me.name:
        return True
    return is_same_subnet(me, interface.ip) or choose(pool, me, Peer(interface.ip, node), up).tunnel is not None
