"""Prometheus' text format: families of samples as the lines that a scrape reads. Pure.

Source: prometheus.io/docs/instrumenting/exposition_formats (text format 0.0.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from datastore.monitoring.durations import Durations

Labels = tuple[tuple[str, str], ...]
NO_LABELS: Labels = ()


class Type(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    SUMMARY = "summary"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One name. A counter and a gauge have numbers, a summary and a histogram durations."""

    name: str
    type: Type
    about: str
    samples: Mapping[Labels, float | Durations]


def one(name: str, type_: Type, about: str, value: float | Durations) -> Family:
    """Without labels."""
    return Family(name, type_, about, {NO_LABELS: value})


def by(name: str, about: str, label: str, values: Mapping[str, float], type_: Type = Type.GAUGE) -> Family:
    """One label, and a value for each of its texts."""
    return Family(name, type_, about, {((label, each),): value for each, value in values.items()})


def text(families: Iterable[Family]) -> str:
    return "".join(line for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.about}\n# TYPE {family.name} {family.type.value}\n"
    for labels, value in sorted(family.samples.items(), key=lambda item: item[0]):
        if isinstance(value, Durations):
            yield from _of_durations(family, labels, value)
        else:
            yield _line(family.name, labels, value)


def _of_durations(family: Family, labels: Labels, durations: Durations) -> Iterator[str]:
    """A summary here has no quantiles, as most of upstream's: they could not be added up over nodes."""
    if family.type is Type.HISTOGRAM:
        for limit_s, count in durations.cumulated():
            yield _line(f"{family.name}_bucket", (*labels, ("le", _number(limit_s))), count)
    yield _line(f"{family.name}_sum", labels, durations.total_s)
    yield _line(f"{family.name}_count", labels, durations.count)


def _line(name: str, labels: Labels, value: float) -> str:
    said = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{said}}} {_number(value)}\n" if said else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
