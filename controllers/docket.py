"""Since when each suspect has looked so, and which have looked so for long enough. Pure; times are monotonic seconds.

A suspect that looks innocent once starts anew. What one holder has is given back together or not at all: a second
address of the same handle that is too young holds up the first.

Source: Calico kube-controllers/pkg/controllers/node/ipam_allocation.go, handle_tracker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controllers.findings import ABSENCE_S, Suspect, What
from ipam.gc import Leak


@dataclass(frozen=True, slots=True)
class Docket:
    since: Mapping[Suspect, float] = field(default_factory=dict)

    def look(self, found: Iterable[Suspect], *, now: float) -> Docket:
        """The docket after one more look."""
        return Docket({each: self.since.get(each, now) for each in found})

    def without(self, cleared: Iterable[Suspect]) -> Docket:
        """As if these had never looked suspect."""
        gone = set(cleared)
        return Docket({each: since for each, since in self.since.items() if each not in gone})

    def due(self, *, now: float) -> list[Suspect]:
        """What may be acted on now; absent nodes are not acted on themselves."""
        ripe = {each for each in self.since if self._ripe_at(each) <= now}
        held_up = {_handle(each) for each in self.since if each not in ripe} - {""}
        return [each for each in self.since if each in ripe and _handle(each) not in held_up and _can_act(each)]

    def next_at(self, *, now: float) -> float | None:
        """When the next one may be acted on; None when none is left that is not yet."""
        return min((at for each in self.since if (at := self._ripe_at(each)) > now), default=None)

    def _ripe_at(self, suspect: Suspect) -> float:
        at = self.since[suspect] + suspect.patience_s
        if suspect.gone_node:
            gone = Suspect(What.NODE, suspect.gone_node, "", 0.0)
            at = max(at, self.since.get(gone, float("inf")) + ABSENCE_S)
        return at


def _can_act(suspect: Suspect) -> bool:
    return suspect.what is not What.NODE


def _handle(suspect: Suspect) -> str:
    return suspect.subject.handle if isinstance(suspect.subject, Leak) else ""
