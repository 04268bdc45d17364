"""A stock exabgp daemon as a neighbour: the program of the same package, with its own states and timers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.interop.far_side import FarSide

PROGRAM = Path(sys.executable).with_name("exabgp")

CONFIGURATION = """
process record {{
  run {recorder};
  encoder json;
}}
neighbor 10.0.0.1 {{
  router-id {address}; local-address {address}; local-as {local_as}; peer-as {our_as};
  hold-time {hold}; passive {passive};
  family {{ ipv4 unicast; }}
  capability {{ graceful-restart 120; route-refresh enable; }}
  static {{ {routes} }}
  api {{ processes [ record ]; neighbor-changes; receive {{ parsed; update; notification; }} }}
}}
"""


RECORDER = """
import os, select
with open({record!r}, "ab", buffering=0) as record:
    while select.select([0], [], []) and (data := os.read(0, 65536)):
        record.write(data)
"""
"""Its helper gets a pipe that does not block, which most programs take for the end."""


@dataclass
class StockExaBGP:
    far: FarSide
    folder: Path
    address: str = "10.0.0.3"
    local_as: int = 64512
    our_as: int = 64512
    hold: int = 90
    is_passive: bool = False
    routes: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        self.recorder.write_text(RECORDER.format(record=str(self.record)))
        routes = " ".join(f"route {dst} next-hop self;" for dst in self.routes)
        self.configuration.write_text(
            CONFIGURATION.format(
                recorder=f"{sys.executable} {self.recorder}",
                address=self.address,
                local_as=self.local_as,
                our_as=self.our_as,
                hold=self.hold,
                passive="true" if self.is_passive else "false",
                routes=routes,
            )
        )
        settings = {
            "exabgp_daemon_user": "root",
            "exabgp_daemon_drop": "false",
            "exabgp_tcp_bind": self.address,
            "exabgp_api_cli": "false",
            "exabgp_log_level": "WARNING",
        }
        command = [
            "env",
            *(f"{name}={value}" for name, value in settings.items()),
            str(PROGRAM),
            str(self.configuration),
        ]
        self.process = self.far.start(command, log=self.folder / "exabgp.out")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def configuration(self) -> Path:
        return self.folder / "exabgp.conf"

    @property
    def recorder(self) -> Path:
        return self.folder / "recorder.py"

    @property
    def record(self) -> Path:
        return self.folder / "record"

    def told(self) -> list[dict[str, Any]]:
        """What it reported, in order."""
        if not self.record.exists():
            return []
        return [json.loads(line) for line in self.record.read_text().splitlines() if line.endswith("}")]

    def learned(self) -> list[str]:
        """``10.244.1.0/26 via 10.0.0.1 pref 2147482623``, as it last heard."""
        routes: dict[str, str] = {}
        for message in self.told():
            update = message.get("neighbor", {}).get("message", {}).get("update", {})
            preference = update.get("attribute", {}).get("local-preference", "none")
            for hop, prefixes in update.get("announce", {}).get("ipv4 unicast", {}).items():
                routes.update({each["nlri"]: f"{each['nlri']} via {hop} pref {preference}" for each in prefixes})
            for each in update.get("withdraw", {}).get("ipv4 unicast", []):
                routes.pop(each["nlri"], None)
        return sorted(routes.values())
