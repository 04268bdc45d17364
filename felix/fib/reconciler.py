"""Keeps the kernel as it is wanted: owns the loop around :mod:`felix.fib.plan`.

One pass: take what the kernel tells; read it anew where that does not say everything; hand changed surroundings to
the agent, which may answer with another Desired; plan; journal what could not be recognised otherwise; write; take
the echo. A pass is due when something is wanted, when the kernel tells of a change, when a refused write may be tried
again, and every ``refresh_s`` whatever happens. Nothing polls.

What makes it correct:

- One task writes. Whoever wants something replaces the whole wish (:meth:`Reconciler.want`) and wakes that task.
- A removal waits until the writes before it were accepted, as far as they overlap (:func:`felix.fib.plan.removable`).
- A refused write is tried again later, or at once when its device changes; the others go on.
- Passes that nobody asked for, which only undo what others do, are limited in number.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random

from datastore.monitoring.durations import Durations
from felix.fib import rp_filter
from felix.fib.claimant import Claimant
from felix.fib.failures import Failures
from felix.fib.journal import Journal, JournalUnavailable
from felix.fib.kernel import AddressNow, Change, Kernel, KernelUnavailable, LinkNow
from felix.fib.marks import CALICO, Marks
from felix.fib.mirror import Mirror, Surroundings
from felix.fib.model import (
    AddAddress,
    AddRoute,
    DeleteAddress,
    DeleteRoute,
    Desired,
    Network,
    Op,
    RaiseLink,
    Refusal,
    ReplaceRoute,
    RouteKey,
    Why,
    WriteSysctl,
)
from felix.fib.owner import Ownership, is_ours
from felix.fib.pace import Pace
from felix.fib.plan import ALL_IN_SYNC, InSync, Plan, plan, removable
from felix.fib.status import Applied, Counters, NotSettled, Report, State, Status
from felix.fib.tunnel import ChangeTunnel, DeleteEntry, MakeTunnel, RemoveTunnel, SetEntry

REFRESH_S = 90.0
_HOPELESS_AFTER = 3  # refusals: until then a write may just have met a device on its way up or down
_READ_ATTEMPTS = 3
_GONE = {
    DeleteRoute: errno.ESRCH,
    DeleteAddress: errno.EADDRNOTAVAIL,
    DeleteEntry: errno.ENOENT,
    RemoveTunnel: errno.ENODEV,
}


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """``pools``: the networks inside which routes of our form are ours; ``marks`` say what that form is."""

    desired: Desired
    pools: frozenset[Network]
    in_sync: InSync
    marks: Marks = CALICO


@dataclass(frozen=True, slots=True)
class _Waiter:
    keys: frozenset[RouteKey]
    done: asyncio.Future[None]


class Reconciler:
    """Give it a kernel and a journal, run :meth:`run` as a task, and tell it what is :meth:`want`-ed.

    ``on_surroundings`` gets what next hops are found through, at the start and whenever it changes, before the pass
    goes on. ``on_pass`` is called after each pass. Both are plain and quick, and may call ``want``.
    ``on_applied`` is told what was written, and how the kernel answered. ``deciding`` and ``applying`` are how long
    wishes and whole passes took.
    """

    def __init__(
        self,
        kernel: Kernel,
        journal: Journal,
        *,
        on_surroundings: Callable[[Surroundings], None] = lambda _: None,
        on_pass: Callable[[], None] = lambda: None,
        on_applied: Callable[[Sequence[Applied]], None] = lambda _: None,
        marks: Marks = CALICO,
        refresh_s: float = REFRESH_S,
        rng: Random | None = None,
    ) -> None:
        self._kernel = kernel
        self._on_surroundings = on_surroundings
        self._on_pass = on_pass
        self._on_applied = on_applied
        self._refresh_s = refresh_s
        self._rng = rng or Random()
        self._mirror = Mirror()
        self._marks = marks
        self._claimant = Claimant(journal, marks)
        self._wish: Wish | None = None
        self._make: Callable[[], Wish] | None = None
        self._told: Surroundings | None = None
        self._decided = Plan()
        self._planned: tuple[int, Wish | None] = (-1, None)
        self._failures = Failures(lambda: self._rng.uniform(0.8, 1.2))
        self._waiters: list[_Waiter] = []
        self._wake = asyncio.Event()
        self._asked = asyncio.Event()
        self._repairs = Pace(burst=20, per_s=5)
        self._refresh_at = 0.0
        self._trouble = ""
        self._troubles = 0
        self._counters = Counters()
        self.deciding, self.applying = Durations(), Durations()

    # What others ask.

    def want(self, desired: Desired, *, pools: Iterable[Network], in_sync: InSync) -> None:
        """From now on this is wanted, whole."""
        self.ask(lambda: Wish(desired, frozenset(pools), in_sync, self._marks))
        self._take_wish()

    def ask(self, make: Callable[[], Wish]) -> None:
        """As :meth:`want`; ``make`` is called when a pass is about to use its answer, so that many changes cost one."""
        self._make = make
        self._asked.set()
        self._wake.set()

    async def settled(self, keys: Iterable[RouteKey]) -> None:
        """Return when each of ``keys`` that is wanted is in the kernel, acknowledged.

        Waits for what is pending, for ever: the caller sets the time limit. Raises NotSettled for a conflict and for
        what the kernel refused three times.
        """
        waiter = _Waiter(frozenset(keys), asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        if not self._asked.is_set():  # else the last pass knew another wish
            self._answer(waiter)
        try:
            await waiter.done
        finally:
            self._waiters.remove(waiter)

    def status(self, key: RouteKey) -> Status | None:
        """None for what is not wanted."""
        if (item := self.desired.routes.get(key)) is None:
            return None
        route, why = item
        if self._mirror.actual.routes.get(key) == route:
            return Status(State.IN_KERNEL, why)
        if (in_the_way := self._decided.conflicts.get(key)) is not None:
            return Status(State.CONFLICT, why, in_the_way)
        if (missing := self._decided.pending.get(key)) is not None:
            return Status(State.PENDING, why, missing)
        if (failure := self._failures.get(key)) is not None:
            return Status(State.FAILED, why, f"{failure.op}: {failure.why}")
        return Status(State.WANTED, why)

    @property
    def desired(self) -> Desired:
        return Desired() if self._wish is None else self._wish.desired

    @property
    def mirror(self) -> Mirror:
        """For reading: what the kernel is known to hold."""
        return self._mirror

    @property
    def ownership(self) -> Ownership:
        return self._claimant.ownership

    @property
    def failures(self) -> Mapping[str, str]:
        """What is refused for now, op by op: routes, devices that should be up, sysctls."""
        return {str(failure.op): str(failure.why) for failure in self._failures}

    @property
    def refused_devices(self) -> Mapping[str, str]:
        """Tunnels that the kernel does not make, and why."""
        return {one.op.tunnel.name: str(one.why) for one in self._failures if isinstance(one.op, MakeTunnel)}

    def report(self) -> Report:
        return Report(
            trouble=self._trouble,
            has_planned=self._planned[1] is not None,
            wanted=len(self.desired.routes),
            pending=len(self._decided.pending) + len(self.desired.pending),
            failed=sum(isinstance(one.op, AddRoute | ReplaceRoute) for one in self._failures),
            conflicts=len(self._decided.conflicts),
            counters=replace(self._counters, journal_errors=self._claimant.errors),
        )

    # The loop.

    async def run(self) -> None:
        """Never returns; cancel it to end. What the kernel holds stays."""
        self._kernel.listen(self._wake.set)
        while True:
            await self._pass()
            await self._until_due()

    async def _until_due(self) -> None:
        if self._trouble:
            due_at = self._now() + self._failures.backoff_s(self._troubles)
        else:
            due_at = min(self._refresh_at, self._failures.next_retry_at())
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due_at):
                await self._wake.wait()
        if not self._asked.is_set() and (wait_s := self._repairs.wait_s(self._now())):
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._asked.wait()

    async def _pass(self) -> None:
        self._wake.clear()
        self._asked.clear()
        self._count(passes=1)
        begun = self._now()
        is_refresh = begun >= self._refresh_at
        try:
            if is_refresh:
                self._refresh()
            await self._look()
            if (wish := self._decided_wish()) is not None:
                if self._claimant.claim_pools(wish.pools, wish.marks):
                    self._mirror.forget_surroundings()
                await self._close_the_difference(wish)
                if is_refresh:
                    self._disclaim(wish)
            self._trouble, self._troubles = "", 0
        except KernelUnavailable as error:
            self._trouble, self._troubles = str(error), self._troubles + 1
            self._mirror.is_stale = True
            self._count(kernel_errors=1)
        self.applying.add(self._now() - begun)
        for waiter in self._waiters:
            self._answer(waiter)
        self._on_pass()

    def _decided_wish(self) -> Wish | None:
        """What is wanted; working that out is timed where it has to be done."""
        if self._make is None:
            return self._wish
        begun = self._now()
        wish = self._take_wish()
        self.deciding.add(self._now() - begun)
        return wish

    def _take_wish(self) -> Wish | None:
        if (make := self._make) is not None:
            self._make = None
            self._wish = make()
        return self._wish

    async def _look(self) -> None:
        """Bring the mirror up to date, and the agent's picture of the surroundings with it."""
        self._note(self._kernel.take_changes())
        await self._read_until_it_holds_still()
        surroundings = self._mirror.surroundings(self.ownership)
        if surroundings != self._told:
            self._told = surroundings
            self._on_surroundings(surroundings)

    def _refresh(self) -> None:
        self._refresh_at = self._now() + self._refresh_s * self._rng.uniform(0.9, 1.1)
        self._mirror.is_stale = True
        self._mirror.learn_sysctls(self._kernel.read_sysctls(_sysctls_of(self.desired)))

    async def _read_until_it_holds_still(self) -> None:
        for _ in range(_READ_ATTEMPTS):
            if not self._mirror.is_stale:
                return
            self._mirror.load(await self._kernel.read())
            self._note(self._kernel.take_changes())
            self._count(reads=1)
        if self._mirror.is_stale:  # a device flaps; ops from an old picture are safe, what does not fit is refused
            self._wake.set()

    def _note(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._mirror.note(change, self.ownership)
            match change:
                case LinkNow(link):
                    self._failures.retry_at_once(link.name, self._now())
                case AddressNow(address):
                    self._failures.retry_at_once(address.device, self._now())

    def _disclaim(self, wish: Wish) -> None:
        """Once all is known and done, forget what nothing needs any more."""
        if self._mirror.is_stale or wish.in_sync != ALL_IN_SYNC:
            return
        ours = [key for key, route in self._mirror.actual.routes.items() if is_ours(route, self.ownership)]
        self._claimant.disclaim(pools=wish.pools, needed=(*ours, *wish.desired.routes))

    # Writing.

    async def _close_the_difference(self, wish: Wish) -> None:
        self._learn_missing_sysctls(wish.desired)
        if self._planned == (self._mirror.version, wish) and self._failures.next_retry_at() > self._now():
            return
        decided = self._decided = plan(
            wish.desired,
            self._mirror.actual,
            ownership=self.ownership,
            in_sync=wish.in_sync,
            displaced=self._mirror.displaced,
        )
        self._planned = (self._mirror.version, wish)
        self._failures.keep_only(decided.ops)
        if decided.ops or decided.unclaimed:
            await self._carry_out(decided)
            self._note(self._kernel.take_changes())
            self._wake.set()  # other people's changes may be among them: look once more

    def _learn_missing_sysctls(self, desired: Desired) -> None:
        missing = _sysctls_of(desired) - self._mirror.actual.sysctls.keys()
        if missing:
            self._mirror.learn_sysctls(self._kernel.read_sysctls(missing))

    async def _carry_out(self, decided: Plan) -> None:
        self._journal_first(decided)
        await self._apply([op for op in decided.makes if self._failures.may_try(op, self._now())])
        failed = [one.op.route.dst for one in self._failures if isinstance(one.op, AddRoute | ReplaceRoute)]
        removals = removable(decided.removals, failed)
        await self._apply([op for op in removals if self._failures.may_try(op, self._now())])
        await self._apply([op for op in decided.cleanups if self._failures.may_try(op, self._now())])
        self._failures.forget_due(self._now())

    def _journal_first(self, decided: Plan) -> None:
        ops = [op for op in decided.makes if _is_unclaimed(op, decided) and self._failures.may_try(op, self._now())]
        if not decided.unclaimed:
            return
        try:
            self._claimant.claim_routes(decided.unclaimed)
        except JournalUnavailable as error:
            for op in ops:
                self._failures.add(op, f"it could not be recognised later: {error}", self._now())

    async def _apply(self, ops: Sequence[Op]) -> None:
        if not ops:
            return
        done: list[Op] = []
        answers = list(zip(ops, await self._kernel.apply(ops), strict=True))
        self._on_applied([Applied(op, refusal, self._why(op)) for op, refusal in answers])
        for op, refusal in answers:
            if refusal is None or _is_gone_anyway(op, refusal):
                self._failures.remove(op)
                done.append(op)
            else:
                self._failures.add(op, refusal, self._now())
                self._mirror.is_stale = True  # it is not as we thought
        self._mirror.learn_sysctls({op.path: op.value for op in done if isinstance(op, WriteSysctl)})
        removed = sum(type(op) in _GONE for op in done)
        self._count(written=len(done) - removed, removed=removed, refused=len(ops) - len(done))

    def _why(self, op: Op) -> Why | None:
        """Why it is wanted; None for what goes because nobody wants it any more."""
        match op:
            case AddRoute(route) | ReplaceRoute(route):
                item = self.desired.routes.get(route.key)
                return item[1] if item is not None else self._decided.footholds.get(route.key)
            case RaiseLink(device):
                return self.desired.devices_up.get(device) or self._why_tunnel(device)
            case WriteSysctl(path):
                found = self.desired.sysctls.get(path)
                return found[1] if found is not None else rp_filter.why(self.desired, path)
            case MakeTunnel(tunnel):
                return self._why_tunnel(tunnel.name)
            case ChangeTunnel(device):
                return self._why_tunnel(device)
            case AddAddress(address):
                return self._why_tunnel(address.device)
            case SetEntry(entry):
                return self._why_tunnel(entry.device)
        return None

    def _why_tunnel(self, device: str) -> Why | None:
        return found[1] if (found := self.desired.tunnels.get(device)) is not None else None

    # Waiting.

    def _answer(self, waiter: _Waiter) -> None:
        if waiter.done.done():
            return
        statuses = {key: status for key in waiter.keys if (status := self.status(key)) is not None}
        for key, status in statuses.items():
            if self._is_hopeless(key, status):
                waiter.done.set_exception(NotSettled(key, status))
                return
        if all(status.state is State.IN_KERNEL for status in statuses.values()):
            waiter.done.set_result(None)

    def _is_hopeless(self, key: RouteKey, status: Status) -> bool:
        failure = self._failures.get(key)
        is_refused = status.state is State.FAILED and failure is not None and failure.attempts >= _HOPELESS_AFTER
        return is_refused or status.state is State.CONFLICT

    def _count(self, **more: int) -> None:
        raised = {name: getattr(self._counters, name) + n for name, n in more.items()}
        self._counters = replace(self._counters, **raised)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _sysctls_of(desired: Desired) -> set[str]:
    return desired.sysctls.keys() | rp_filter.paths(desired)


def _is_unclaimed(op: Op, decided: Plan) -> bool:
    return isinstance(op, AddRoute | ReplaceRoute) and op.route.key in decided.unclaimed


def _is_gone_anyway(op: Op, refusal: Refusal) -> bool:
    return refusal.code == _GONE.get(type(op))
