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
protocol direct {{ {channel}; }}
protocol static blocks {{ {channel}; {routes} }}
protocol static beside {{ {channel} {{ preference 100; }}; {beside} }}
filter ours_out {{ if source != RTS_STATIC then reject; {export} }}
protocol bgp ours {{
  local {address} as {local_as};
  neighbor {ours} as {our_as};
  {multihop} strict bind yes;
  connect delay time 1; connect retry time 1; error wait time 1, 2; startup hold time 240;
  graceful restart on; graceful restart time 120;
  hold time {hold};
  {more}
  {channel} {{ import all; export filter ours_out; next hop self; add paths on; }};
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
    export: str = "accept;"
    beside: str = ""
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
            router_id=self.router_id,
            address=self.address,
            local_as=self.local_as,
            our_as=self.our_as,
            routes=routes,
            hold=self.hold,
            more=self.more,
            export=self.export,
            beside=self.beside,
            channel="ipv6" if ":" in self.address else "ipv4",
            ours="fd00::1" if ":" in self.address else "10.0.0.1",
            multihop="" if "multihop" in self.more else "multihop;",
        )

    @property
    def router_id(self) -> str:
        """10.0.0.2 also of the one at fd00::2."""
        return f"10.0.0.{self.address.rpartition(':')[2]}" if ":" in self.address else self.address

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
            dst = re.match(r"([\da-f.:]+/\d+)\s", block)
            hop, pref = re.search(r"BGP.next_hop: (\S+)", block), re.search(r"BGP.local_pref: (\d+)", block)
            if dst and hop:
                stale = " stale" if re.search(r"\(\d+s?[/)].*\bs\b|\d+s\)", block) else ""
                found.append(f"{dst[1]} via {hop[1]}" + (f" pref {pref[1]}" if pref else "") + stale)
        return sorted(found)
