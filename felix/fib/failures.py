"""Ops that were refused, and when each may be tried again: after a while that doubles, 0.05 s to 30 s.

An op is told from another on the same thing: when a route is wanted differently, that is a new op and may be tried at
once. Times are the caller's; ``jitter`` spreads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from felix.fib.model import (
    AddAddress,
    AddRoute,
    DeleteAddress,
    DeleteRoute,
    Op,
    Refusal,
    ReplaceRoute,
    RouteKey,
    WriteSysctl,
)
from felix.fib.tunnel import DeleteEntry, MakeTunnel, SetEntry

Subject = RouteKey | str  # a route, the path of a sysctl, or what is done to a device

_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 30.0
_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Failure:
    op: Op
    why: Refusal | str
    attempts: int
    retry_at: float


class Failures:
    def __init__(self, jitter: Callable[[], float]) -> None:
        """``jitter`` gives a factor around 1."""
        self._jitter = jitter
        self._found: dict[Subject, Failure] = {}

    def __iter__(self) -> Iterator[Failure]:
        return iter(self._found.values())

    def get(self, subject: Subject) -> Failure | None:
        return self._found.get(subject)

    def add(self, op: Op, why: Refusal | str, now: float) -> None:
        former = self._found.get(subject_of(op))
        attempts = former.attempts + 1 if former is not None and former.op == op else 1
        self._found[subject_of(op)] = Failure(op, why, attempts, now + self.backoff_s(attempts))

    def remove(self, op: Op) -> None:
        if self._found:
            self._found.pop(subject_of(op), None)

    def keep_only(self, ops: Collection[Op]) -> None:
        """What is no longer to be done cannot fail any more."""
        if self._found:
            subjects = {subject_of(op) for op in ops}
            self._found = {subject: one for subject, one in self._found.items() if subject in subjects}

    def forget_due(self, now: float) -> None:
        """Those that could have been tried by now and were not: something else holds them back."""
        self._found = {subject: one for subject, one in self._found.items() if one.retry_at > now}

    def may_try(self, op: Op, now: float) -> bool:
        former = self._found.get(subject_of(op)) if self._found else None
        return former is None or former.op != op or former.retry_at <= now

    def retry_at_once(self, device: str, now: float) -> None:
        """The device is another than it was: what was refused for its sake may work now."""
        for subject, one in self._found.items():
            if device in _devices(one.op):
                self._found[subject] = replace(one, retry_at=now)

    def next_retry_at(self) -> float:
        """Infinity when nothing failed."""
        return min((one.retry_at for one in self), default=float("inf"))

    def backoff_s(self, attempts: int) -> float:
        doubled_s = _FIRST_RETRY_S * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS)
        return min(_LONGEST_RETRY_S, doubled_s) * self._jitter()


def subject_of(op: Op) -> Subject:
    match op:
        case AddRoute(route) | ReplaceRoute(route) | DeleteRoute(route):
            return route.key
        case WriteSysctl(path, _):
            return path
        case _:
            return str(op)


def _devices(op: Op) -> Collection[str]:
    match op:
        case AddRoute(route) | ReplaceRoute(route) | DeleteRoute(route):
            return {hop.device for hop in route.hops}
        case WriteSysctl():
            return ()
        case MakeTunnel(tunnel):
            return {tunnel.name} if tunnel.vxlan is None else {tunnel.name, tunnel.vxlan.parent}
        case SetEntry(entry) | DeleteEntry(entry):
            return {entry.device}
        case AddAddress(address) | DeleteAddress(address):
            return {address.device}
        case _:
            return {op.device}
