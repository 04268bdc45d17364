"""What felix is told from outside: the environment, read once at the start. Upstream's names where it has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from felix.startup import environment
from felix.startup.address import VARIABLES
from felix.startup.environment import BadEnvironment
from felix.startup.name import node_name


@dataclass(frozen=True, slots=True)
class FelixConfig:
    """``health_port`` 0: no health over HTTP. Times are seconds. ``address_poll_s``: how often the node's address is
    detected again; None where it was given.
    """

    node: str
    health_host: str = "localhost"
    health_port: int = 9099
    refresh_s: float = 90.0
    address_poll_s: float | None = None
    log_level: str = "INFO"
    state_folder: Path = Path("/var/lib/calico")


_LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "fatal": "CRITICAL",
    "none": "CRITICAL",
}


def read(environ: Mapping[str, str]) -> FelixConfig:
    """Raises BadEnvironment."""
    is_healthy = environ.get("FELIX_HEALTHENABLED", "true").lower() == "true"
    return FelixConfig(
        node=node_name(environ),
        health_host=environ.get("FELIX_HEALTHHOST", "localhost"),
        health_port=_number(environ, "FELIX_HEALTHPORT", 9099) if is_healthy else 0,
        refresh_s=float(_number(environ, "FELIX_ROUTEREFRESHINTERVAL", 90)),
        address_poll_s=_address_poll_s(environ),
        log_level=log_level(environ.get("FELIX_LOGSEVERITYSCREEN", "info")),
    )


def _address_poll_s(environ: Mapping[str, str]) -> float | None:
    is_detected = any(environ.get(variable, "").strip().lower() == "autodetect" for variable in VARIABLES.values())
    return environment.interval(environ, "AUTODETECT_POLL_INTERVAL", default_s=60.0) if is_detected else None


def log_level(severity: str) -> str:
    """Python's name of one of upstream's severities. Raises BadEnvironment."""
    level = _LEVELS.get(severity.lower())
    if level is None:
        raise BadEnvironment(f"FELIX_LOGSEVERITYSCREEN={severity}: must be one of {', '.join(_LEVELS)}")
    return level


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) > 1 << 31:
        raise BadEnvironment(f"{name}={text}: must be a number")
    return int(text)
