"""FRR's bgpd as a neighbour: Debian's program alone, without zebra, so no kernel learns anything from it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.interop.far_side import FarSide

PROGRAM = "/usr/lib/frr/bgpd"

CONFIGURATION = """
hostname frr
router bgp {local_as}
 bgp router-id {router_id}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 bgp graceful-restart
 neighbor {ours} remote-as {our_as}
 neighbor {ours} disable-connected-check
 neighbor {ours} timers connect 1
 {more}
 address-family {family} unicast
  neighbor {ours} activate
  {policy}
  {routes}
 exit-address-family
{maps}
"""


@dataclass
class Frr:
    far: FarSide
    folder: Path
    address: str = "10.0.0.4"
    local_as: int = 64512
    our_as: int = 64512
    routes: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()
    maps: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        configuration = self.folder / "bgpd.conf"
        configuration.write_text(self.text())
        command = [PROGRAM, "-S", "-Z", "-n", "-f", str(configuration), "-i", str(self.folder / "pid")]
        command += ["--vty_socket", str(self.folder), "-l", self.address, "-P", "0", "--log", "stdout"]
        self.process = self.far.start(command, log=self.folder / "bgpd.log")

    def text(self) -> str:
        ours = self.ours
        return CONFIGURATION.format(
            local_as=self.local_as,
            our_as=self.our_as,
            router_id=f"10.0.0.{self.address.replace(':', '.').rpartition('.')[2]}",
            ours=ours,
            family="ipv6" if ":" in ours else "ipv4",
            more="\n ".join(f"neighbor {ours} {each}" for each in self.more),
            policy="\n  ".join(f"neighbor {ours} {each}" for each in self.policy),
            routes="\n  ".join(f"network {each}" for each in self.routes),
            maps=self.maps,
        )

    @property
    def ours(self) -> str:
        return "fd00::1" if ":" in self.address else "10.0.0.1"

    def ask(self, *commands: str) -> str:
        words = [word for command in commands for word in ("-c", command)]
        done = subprocess.run(
            ["vtysh", "--vty_socket", str(self.folder), "-d", "bgpd", *words], capture_output=True, text=True
        )
        return done.stdout

    def configure(self, *lines: str) -> None:
        self.ask("configure terminal", f"router bgp {self.local_as}", *lines)

    def is_established(self) -> bool:
        return '"bgpState":"Established"' in self.ask(f"show bgp neighbors {self.ours} json").replace(" ", "")

    def learned(self) -> list[str]:
        """``10.244.1.0/26 via 10.0.0.1``: what came from us."""
        return sorted(f"{dst} via {_hop(path)}" for dst, path in self._paths())

    def route(self, dst: str) -> dict[str, Any]:
        """The attributes of one route, as FRR names them; empty where there is none."""
        said = self.ask(f"show bgp {'ipv6' if ':' in dst else 'ipv4'} unicast {dst} json")
        paths = json.loads(said or "{}").get("paths") or [{}]
        found: dict[str, Any] = paths[0]
        return found

    def _paths(self) -> Iterator[tuple[str, Any]]:
        said = self.ask(f"show bgp {'ipv6' if ':' in self.ours else 'ipv4'} unicast json")
        for dst, paths in (json.loads(said or "{}").get("routes") or {}).items():
            yield from ((dst, path) for path in paths if path.get("peerId") == self.ours)


def _hop(path: Any) -> str:
    return next(str(hop["ip"]) for hop in path["nexthops"] if hop.get("scope") != "link-local")
