"""GoBGP as a neighbour: Debian's gobgpd, and its client for what it knows."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.interop.far_side import FarSide

PROGRAM = "/usr/bin/gobgpd"

CONFIGURATION = """
[global.config]
  as = {local_as}
  router-id = "{router_id}"
  local-address-list = ["{address}"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{ours}"
    peer-as = {our_as}
    {config}
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
  [neighbors.transport.config]
    local-address = "{address}"
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 120
  {more}
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "{family}-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
    {last}
"""


@dataclass
class GoBGP:
    far: FarSide
    folder: Path
    address: str = "10.0.0.5"
    local_as: int = 64512
    our_as: int = 64512
    routes: tuple[str, ...] = ()
    config: str = ""
    more: str = ""
    last: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        (self.folder / "api").unlink(missing_ok=True)
        configuration = self.folder / "gobgpd.toml"
        configuration.write_text(
            CONFIGURATION.format(
                local_as=self.local_as,
                our_as=self.our_as,
                address=self.address,
                router_id=f"10.0.0.{self.address.replace(':', '.').rpartition('.')[2]}",
                ours=self.ours,
                family=self.family,
                config=self.config,
                more=self.more,
                last=self.last,
            )
        )
        command = [PROGRAM, "-f", str(configuration), "--api-hosts", f"unix://{self.folder}/api", "--pprof-disable"]
        self.process = self.far.start(command, log=self.folder / "gobgpd.log")

    def announce(self, *attributes: str) -> None:
        """Its own routes. It has to be asked for them after each start."""
        for dst in self.routes:
            self.ask("global", "rib", "add", dst, *attributes, "-a", self.family)

    def withdraw(self, dst: str) -> None:
        self.ask("global", "rib", "del", dst, "-a", self.family)

    @property
    def family(self) -> str:
        return "ipv6" if ":" in self.address else "ipv4"

    @property
    def ours(self) -> str:
        return "fd00::1" if ":" in self.address else "10.0.0.1"

    def ask(self, *words: str) -> str:
        command = ["gobgp", "--target", f"unix://{self.folder}/api", *words]
        return subprocess.run(command, capture_output=True, text=True).stdout

    def is_established(self) -> bool:
        return "Establ" in self.ask("neighbor")

    def learned(self) -> list[str]:
        """``10.244.1.0/26 via 10.0.0.1``: what came from us."""
        return sorted(f"{dst} via {attributes['nexthop']}" for dst, attributes in self._routes().items())

    def route(self, dst: str) -> dict[str, Any]:
        """The attributes of one route by GoBGP's names; empty where there is none."""
        return self._routes().get(dst, {})

    def _routes(self) -> dict[str, dict[str, Any]]:
        said = self.ask("-j", "neighbor", self.ours, "adj-in", "-a", self.family)
        return {dst: _attributes(paths[0]["attrs"]) for dst, paths in json.loads(said or "{}").items()}


_NAMES = {1: "origin", 2: "as_paths", 3: "nexthop", 4: "metric", 5: "value", 8: "communities", 9: "value",
          10: "value", 14: "nexthop", 32: "value"}  # fmt: skip
_OURS = {5: "local_pref", 9: "originator", 10: "clusters", 32: "large"}


def _attributes(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        _OURS.get(each["type"], _NAMES[each["type"]]): each.get(_NAMES[each["type"]])
        for each in attributes
        if each["type"] in _NAMES
    }
