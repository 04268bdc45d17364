"""What the reconciler says of its work: of one route, of all, and why somebody waits in vain."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from felix.fib.model import Op, Refusal, RouteKey, Why


class State(Enum):
    IN_KERNEL = "in kernel"
    WANTED = "to be written"
    PENDING = "pending"
    FAILED = "failed"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Status:
    """Of one wanted route: ``why`` it is wanted; ``detail`` what is missing, refused or in the way, or ""."""

    state: State
    why: Why
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.state.value}: {self.detail}" if self.detail else self.state.value


@dataclass(frozen=True, slots=True)
class Applied:
    """One write, and how the kernel answered: None for done. ``why`` is None for what nobody wants any more."""

    op: Op
    refusal: Refusal | None
    why: Why | None


@dataclass(frozen=True, slots=True)
class Counters:
    """Since the start. ``written`` counts routes, links and sysctls; ``removed`` routes."""

    passes: int = 0
    reads: int = 0
    written: int = 0
    removed: int = 0
    refused: int = 0
    kernel_errors: int = 0
    journal_errors: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """For health. ``trouble``: what keeps us from knowing or writing the kernel at all, or "". Counts are routes.

    ``has_planned``: something was wanted, and at least one pass has compared it with the kernel.
    """

    trouble: str
    has_planned: bool
    wanted: int
    pending: int
    failed: int
    conflicts: int
    counters: Counters


@dataclass(eq=False)
class NotSettled(Exception):
    """A wanted route will not be in the kernel for now: the kernel refuses it, or a foreign route has its key."""

    key: RouteKey
    status: Status

    def __str__(self) -> str:
        return f"{self.key.dst} is not in the kernel: {self.status}"
