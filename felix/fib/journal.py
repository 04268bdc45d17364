"""What is ours without looking like it: the one thing about routes that is kept on disk.

Two kinds of entries. ``pool``: a network whose routes of our form are ours; it stays for as long as it has such
routes, also when the pool is deleted. ``route``: one route outside of all pools that we wrote, such as an external
one from BGP, by its key. An entry is on disk before the first route that needs it is in the kernel (invariant 3), and
leaves after the last one has gone.

A file of lines, appended and synced; ``-`` before a line takes it back. A line without its closing ``;`` is what a
crash or a full disk left, and says nothing. Opening makes the file short again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Protocol, TypeVar

from felix.fib.model import Network, RouteKey

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claims:
    pools: frozenset[Network] = frozenset()
    routes: frozenset[RouteKey] = frozenset()

    def __or__(self, other: Claims) -> Claims:
        return Claims(self.pools | other.pools, self.routes | other.routes)

    def __sub__(self, other: Claims) -> Claims:
        return Claims(self.pools - other.pools, self.routes - other.routes)

    def __bool__(self) -> bool:
        return bool(self.pools or self.routes)


class JournalUnavailable(Exception):
    """The world: disk full, read-only, gone. What needs an entry is not written until one can be made."""


class Journal(Protocol):
    @property
    def claims(self) -> Claims: ...

    def record(self, claims: Claims) -> None:
        """On return they are kept. Raises JournalUnavailable, and then nothing counts as kept."""
        ...

    def forget(self, claims: Claims) -> None:
        """Raises JournalUnavailable; they may be forgotten or not, and either is harmless."""
        ...


class MemoryJournal:
    """Survives what its owner keeps it through: for the simulation, where a restart is a new reconciler."""

    def __init__(self) -> None:
        self.claims = Claims()

    def record(self, claims: Claims) -> None:
        self.claims |= claims

    def forget(self, claims: Claims) -> None:
        self.claims -= claims


class FileJournal:
    """One writer, one file. Raises JournalUnavailable when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.claims = self._shorten()
        except OSError as error:
            raise JournalUnavailable(f"{path}: {error.strerror}") from error

    def record(self, claims: Claims) -> None:
        new = claims - self.claims
        if new:
            self._append(_lines(new))
            self.claims |= new

    def forget(self, claims: Claims) -> None:
        self._append(_lines(claims, taken_back=True))
        self.claims -= claims

    def _append(self, lines: Iterable[str]) -> None:
        try:
            with self._path.open("a") as file:
                file.write("\n")  # ends what an earlier failure may have left
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise JournalUnavailable(f"{self._path}: {error.strerror}") from error

    def _shorten(self) -> Claims:
        claims = _read(self._path.read_text().splitlines()) if self._path.exists() else Claims()
        fresh = self._path.with_suffix(".new")
        with fresh.open("w") as file:
            file.writelines(_lines(claims))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        return claims


def _lines(claims: Claims, *, taken_back: bool = False) -> list[str]:
    sign = "-" if taken_back else ""
    pools = [f"pool {pool}" for pool in claims.pools]
    routes = [f"route {key.dst} metric {key.metric}" for key in claims.routes]
    return [f"{sign}{entry};\n" for entry in sorted(pools) + sorted(routes)]


def _read(lines: Iterable[str]) -> Claims:
    pools: set[Network] = set()
    routes: set[RouteKey] = set()
    for line in lines:
        is_taken_back = line.startswith("-")
        with suppress(ValueError):
            match line.removeprefix("-").replace(";", " ;").split():
                case ["pool", network, ";"]:
                    _note(pools, ip_network(network), is_taken_back)
                case ["route", network, "metric", metric, ";"]:
                    _note(routes, RouteKey(ip_network(network), int(metric)), is_taken_back)
    return Claims(frozenset(pools), frozenset(routes))


def _note(kept: set[T], entry: T, is_taken_back: bool) -> None:
    if is_taken_back:
        kept.discard(entry)
    else:
        kept.add(entry)
