"""Keeps the packet filter as it is wanted: owns the loop around the writers.

One pass: pick the writer if that is open, let it close the difference, then clear what other backends hold of ours.
That order keeps the pods' rules in force while the backend changes. A pass is due when something is wanted, when the
writer hears of a change, and every ``refresh_s`` whatever happens. Nothing is touched before anything is wanted.

What makes it correct:

- One task writes. Whoever wants something replaces the whole wish and wakes that task.
- A writer writes all or nothing of a table, so a pass that fails leaves the rules of before; it is tried again, each
  time later, up to half a minute.
- Passes that nobody asked for, which only undo what others do, are limited in number, and to a twentieth of the
  time: beside a kube-proxy with 20,000 rules reading alone takes a tenth of a second.

    firewall = Firewall(ThisMachine(), on_pass=report)           # felix.firewall.machine; report reads .trouble
    tasks.create_task(firewall.run(), name="firewall")
    firewall.want(rules(facts), modes)                           # whenever a fact changes; equal ones cost nothing
    await firewall.settled()                                     # before a tunnel address is published
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from felix.fib.pace import Pace
from felix.firewall.choose import Backend, Modes
from felix.firewall.model import VERSIONS, FirewallUnavailable, RuleSet

REFRESH_S = 180.0
_RETRY_FIRST_S, _RETRY_LAST_S = 0.5, 30.0
_IDLE_SHARE, _LONGEST_REST_S = 20, 5.0


class Writer(Protocol):
    """One backend. ``write`` and ``remove`` raise FirewallUnavailable and leave whole tables, old or new."""

    def listen(self, wake: Callable[[], None]) -> None:
        """From now on call ``wake`` when somebody changes what this backend holds."""
        ...

    async def write(self, wanted: RuleSet) -> int:
        """Make the kernel hold ``wanted`` and nothing else of ours. Returns how many changes that took."""
        ...

    async def remove(self) -> int:
        """Take away all that is ours. Returns how many changes that took."""
        ...


class Machine(Protocol):
    """The backends of this machine."""

    async def choose(self, modes: Modes) -> Backend:
        """Raises FirewallUnavailable: there is none, or it cannot be told."""
        ...

    def writer(self, backend: Backend) -> Writer:
        """Raises FirewallUnavailable: what it needs is not installed."""
        ...

    def others(self, backend: Backend) -> tuple[Writer, ...]:
        """Those that may still hold rules of ours, from before ``backend`` was chosen."""
        ...


@dataclass(frozen=True, slots=True)
class Counters:
    """Since the start. ``changes``: of the kernel's rules; ``failures``: passes that ended in trouble."""

    passes: int = 0
    changes: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    rules: RuleSet
    modes: Modes


class Firewall:
    """Give it a machine, run :meth:`run` as a task, and tell it what is :meth:`want`-ed. ``on_pass`` is called after
    each pass, plain and quick.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        on_pass: Callable[[], None] = lambda: None,
        refresh_s: float = REFRESH_S,
        rng: Random | None = None,
    ) -> None:
        self._machine = machine
        self._on_pass = on_pass
        self._refresh_s = refresh_s
        self._rng = rng or Random()
        self._wish: _Wish | None = None
        self._held: dict[int, _Wish] = {}  # by IP version
        self._chosen: tuple[Modes, Backend] | None = None
        self._is_alone = False
        self._wake, self._asked = asyncio.Event(), asyncio.Event()
        self._passed = asyncio.Condition()
        self._repairs = Pace(burst=20, per_s=5)
        self._trouble, self._failures_in_a_row = "", 0
        self._last_look_s = 0.0
        self.counters = Counters()

    # What others ask.

    def want(self, wanted: RuleSet, modes: Modes = Modes()) -> None:  # noqa: B008  # frozen
        """From now on this is wanted, whole, by the backend that ``modes`` say."""
        if self._wish is not None and (self._wish.rules, self._wish.modes) == (wanted, modes):
            return
        self._wish = _Wish(wanted, modes)
        self._asked.set()
        self._wake.set()

    async def settled(self) -> None:
        """Return when what is wanted now is in force. Waits for ever: the caller sets the time limit."""
        async with self._passed:
            await self._passed.wait_for(lambda: self.is_settled())

    def is_settled(self, *versions: int) -> bool:
        """Whether what is wanted now is in force: for these versions of IP, or for all."""
        return self._wish is not None and all(self._held.get(each) is self._wish for each in versions or VERSIONS)

    @property
    def backend(self) -> Backend | None:
        """The one that is written to; None before the first pass that could choose."""
        return None if self._chosen is None else self._chosen[1]

    @property
    def trouble(self) -> str:
        """Why the last pass failed; "" if it did not."""
        return self._trouble

    # The loop.

    async def run(self) -> None:
        """Never returns; cancel it to end. What the kernel holds stays."""
        while True:
            await self._wake_up()
            if self._wish is not None:
                await self._pass(self._wish)

    async def _wake_up(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._until_due_s()):
                await self._wake.wait()
        if not self._asked.is_set() and (rest_s := self._rest_s()):
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._asked.wait()
        self._wake.clear()
        self._asked.clear()

    def _rest_s(self) -> float:
        return max(self._repairs.wait_s(_now()), min(_IDLE_SHARE * self._last_look_s, _LONGEST_REST_S))

    def _until_due_s(self) -> float:
        if not self._trouble:
            return self._refresh_s * self._rng.uniform(0.9, 1.1)
        backoff_s = min(_RETRY_LAST_S, _RETRY_FIRST_S * 2.0 ** min(self._failures_in_a_row, 10))
        return backoff_s * self._rng.uniform(0.8, 1.2)

    async def _pass(self, wish: _Wish) -> None:
        changes, started_at = 0, _now()
        try:
            backend = await self._choose(wish.modes)
            changes = await self._write(backend, wish)
            self._trouble, self._failures_in_a_row = "", 0
        except FirewallUnavailable as error:
            self._held.update(dict.fromkeys(set(VERSIONS) - error.versions, wish))
            self._trouble, self._failures_in_a_row = str(error), self._failures_in_a_row + 1
        if not changes and not self._trouble:
            self._last_look_s = _now() - started_at
        self.counters = replace(
            self.counters,
            passes=self.counters.passes + 1,
            changes=self.counters.changes + changes,
            failures=self.counters.failures + bool(self._trouble),
        )
        async with self._passed:
            self._passed.notify_all()
        self._on_pass()

    async def _choose(self, modes: Modes) -> Backend:
        if self._chosen is None or self._chosen[0] != modes:
            self._chosen = modes, await self._machine.choose(modes)
            self._is_alone = False
        return self._chosen[1]

    async def _write(self, backend: Backend, wish: _Wish) -> int:
        writer = self._machine.writer(backend)
        writer.listen(self._wake.set)
        changes = await writer.write(wish.rules)
        self._held = dict.fromkeys(VERSIONS, wish)
        if not self._is_alone:
            for other in self._machine.others(backend):
                changes += await other.remove()
            self._is_alone = True
        return changes


def _now() -> float:
    return asyncio.get_running_loop().time()
