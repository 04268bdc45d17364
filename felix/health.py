"""Whether felix does its work, and if not, which part of it and why. Pure.

A part reports itself ready or not, in words; all of them together are ready only when every part is. Live means that
the event loop turns: whoever asks over HTTP gets no answer otherwise, so a part is never "not live" by report.
Format of the summary: Calico libcalico-go/lib/health.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Part(Enum):
    DATASTORE = "Datastore"
    DATAPLANE = "InternalDataplaneMainLoop"
    BGP = "BGPSource"
    CNI = "CNIServer"
    FIREWALL = "PacketFilter"
    TUNNELS = "TunnelAddresses"
    MTU = "MTU"
    CONFIGURATION = "Configuration"
    NODE = "Node"
    METRICS = "Metrics"
    OBJECTS = "StoredObjects"
    DEVICES = "TunnelDevices"


@dataclass(frozen=True, slots=True)
class State:
    """``why`` says what is missing, or what was worth telling although the part is ready."""

    is_ready: bool
    why: str = ""


class Health:
    """``needed`` are the parts without which the node is not ready; they are not, until they say so."""

    def __init__(self, *needed: Part) -> None:
        self._states: dict[Part, State] = {part: State(False, "not started") for part in needed}

    def report(self, part: Part, *, is_ready: bool, why: str = "") -> bool:
        """Whether that was news."""
        state = State(is_ready, why)
        is_news = self._states.get(part) != state
        self._states[part] = state
        return is_news

    @property
    def states(self) -> Mapping[Part, State]:
        return dict(self._states)

    @property
    def is_ready(self) -> bool:
        return all(state.is_ready for state in self._states.values())

    def why_not(self) -> str:
        """The parts that are not ready and their reasons, in one line; "" when all are."""
        missing = [f"{part.value}: {state.why}" for part, state in self._states.items() if not state.is_ready]
        return "; ".join(missing)

    def table(self) -> str:
        rows = [("COMPONENT", "TIMEOUT", "LIVENESS", "READINESS", "DETAIL")]
        for part, state in sorted(self._states.items(), key=lambda item: item[0].value):
            readiness = "reporting ready" if state.is_ready else "reporting non-ready"
            rows.append((part.value, "-", "reporting live", readiness, state.why))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
        lines = ["|".join(["", *(f" {cell.ljust(widths[at])} " for at, cell in enumerate(row)), ""]) for row in rows]
        return "\n".join([rule, lines[0], rule, *lines[1:], rule])
