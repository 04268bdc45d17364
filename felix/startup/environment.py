"""How the environment's variables are read. Pure. An error names the variable, its value, and what may stand there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from datastore.resources import EncapMode
from datastore.selector import Malformed, parse
from felix.setting import duration

Environ = Mapping[str, str]


class BadEnvironment(Exception):
    """A variable that cannot be meant; the message names it and says what may stand there."""


def refuse(variable: str, value: str, what: str) -> BadEnvironment:
    return BadEnvironment(f"{variable}={value}: {what}")


class Backend(Enum):
    """Who carries routes between nodes. With none of them Calico's addresses are not the node's affair either."""

    BIRD = "bird"
    VXLAN = "vxlan"
    NONE = "none"


def backend(environ: Environ) -> Backend:
    """Raises BadEnvironment."""
    variable = "CALICO_NETWORKING_BACKEND"
    text = environ.get(variable, "") or Backend.BIRD.value
    try:
        return Backend(text.lower())
    except ValueError:
        raise refuse(variable, text, "must be bird, vxlan or none") from None


def is_on(environ: Environ, variable: str, *, default: bool) -> bool:
    """Whatever is none of upstream's words for no means yes."""
    text = environ.get(variable, "")
    return text.lower() not in ("false", "0", "no", "n", "f") if text else default


_MODES = {
    "": EncapMode.NEVER,
    "off": EncapMode.NEVER,
    "never": EncapMode.NEVER,
    "always": EncapMode.ALWAYS,
    "crosssubnet": EncapMode.CROSS_SUBNET,
    "cross-subnet": EncapMode.CROSS_SUBNET,
}


def mode(environ: Environ, variable: str) -> EncapMode:
    """Upper and lower case are the same. Raises BadEnvironment."""
    text = environ.get(variable, "")
    found = _MODES.get(text.lower())
    if found is None:
        raise refuse(variable, text, "must be Never (or Off), Always or CrossSubnet")
    return found


def number(environ: Environ, variable: str, *, default: int, low: int, high: int) -> int:
    """Raises BadEnvironment."""
    text = environ.get(variable, "")
    if text and not (text.isdigit() and low <= int(text) <= high):
        raise refuse(variable, text, f"must be a number from {low} to {high}")
    return int(text or default)


def interval(environ: Environ, variable: str, *, default_s: float) -> float:
    """Seconds, from a Go duration or a number. Raises BadEnvironment."""
    text = environ.get(variable, "").strip()
    try:
        found = duration()(text) if text else default_s
    except ValueError as error:
        raise refuse(variable, text, str(error)) from None
    if found <= 0:
        raise refuse(variable, text, "must be longer than nothing")
    return found


def selector(environ: Environ, variable: str) -> str:
    """Raises BadEnvironment."""
    text = environ.get(variable, "") or "all()"
    try:
        parse(text)
    except Malformed as error:
        raise refuse(variable, text, f"must be a selector, like rack == 'a': {error}") from None
    return text
