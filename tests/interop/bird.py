"""BIRD 2 as a neighbour: Debian's program with a configuration and a control socket of its own."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.far_side import FarSide

PROGRAM = "/usr/sbin/bird"

CONFIGURATION = """
log "{log}" all;
router id {router_id};
protocol device {{ }}
protocol direct {{ ipv4; }}
protocol static blocks {{ ipv4; {routes} }}
protocol bgp ours {{
  local {address} as {local_as};
  neighbor 10.0.0.1 as {our_as};
  multihop; strict bind yes;
  connect delay time 1; connect retry time 1; error wait time 1, 2; startup hold time 240;
  graceful restart on; graceful restart time 120;
  hold time {hold};
  {more}
  ipv4 {{ import all; export where source = RTS_STATIC; next hop self; add paths on; }};
}}
"""


@dataclass
class Bird:
    far: FarSide
    folder: Path
    address: str = "10.0.0.2"
    local_as: int = 64512
    our_as: int = 64512
    hold: int = 240
    routes: tuple[str, ...] = ()
    more: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self, *, restarts: bool = False) -> None:
        """``restarts``: with BIRD's own switch for a graceful restart."""
        self.configuration.write_text(self.text())
        command = [PROGRAM, "-f", "-c", str(self.configuration), "-s", str(self.socket), *(["-R"] if restarts else [])]
        self.process = self.far.start(command, log=self.folder / "bird.out")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def configure(self, *routes: str) -> None:
        self.routes = routes
        self.configuration.write_text(self.text())
        self.ask("configure")

    def text(self) -> str:
        routes = " ".join(f"route {dst} blackhole;" for dst in self.routes)
        return CONFIGURATION.format(
            log=self.folder / "bird.log",
            router_id=self.address,
            address=self.address,
            local_as=self.local_as,
            our_as=self.our_as,
            routes=routes,
            hold=self.hold,
            more=self.more,
        )

    @property
    def configuration(self) -> Path:
        return self.folder / "bird.conf"

    @property
    def socket(self) -> Path:
        return self.folder / "bird.ctl"

    def ask(self, *words: str) -> str:
        done = subprocess.run([f"{PROGRAM}c", "-s", str(self.socket), *words], capture_output=True, text=True)
        return done.stdout

    def is_established(self) -> bool:
        return "Established" in self.ask("show", "protocols", "ours")

    def learned(self) -> list[str]:
        """``10.244.1.0/26 via 10.0.0.1 pref 2147482623``, with ``stale`` where BIRD only keeps it for us."""
        found = []
        for block in re.split(r"\n(?=\S)", self.ask("show", "route", "all", "protocol", "ours")):
            dst = re.match(r"([\d./]+)\s", block)
            hop, pref = re.search(r"BGP.next_hop: (\S+)", block), re.search(r"BGP.local_pref: (\d+)", block)
            if dst and hop:
                stale = " stale" if re.search(r"\(\d+s?[/)].*\bs\b|\d+s\)", block) else ""
                found.append(f"{dst[1]} via {hop[1]}" + (f" pref {pref[1]}" if pref else "") + stale)
        return sorted(found)
