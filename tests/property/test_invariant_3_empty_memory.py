"""Everything that we write is recognisable as ours by a process with an empty memory, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from felix.fib.journal import MemoryJournal
from felix.fib.model import AddRoute, Op, Refusal, ReplaceRoute, Route
from felix.fib.model_kernel import ModelKernel
from felix.fib.owner import Ownership, is_ours
from felix.fib.plan import ALL_IN_SYNC
from felix.fib.reconciler import Reconciler
from tests.small_world import OWNERSHIP, Case, all_routes, cases, read
from tests.virtual_time import run


class RecordingKernel:
    """Passes everything on, remembers what was written, and dies after so many ops."""

    def __init__(self, kernel: ModelKernel, ops_until_death: int) -> None:
        self.written: set[Route] = set()
        self._left = ops_until_death
        self._kernel = kernel
        self.listen, self.take_changes = kernel.listen, kernel.take_changes
        self.read, self.read_sysctls, self.close = kernel.read, kernel.read_sysctls, kernel.close

    async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
        results = []
        for op in ops:
            if self._left == 0:
                raise asyncio.CancelledError
            self._left -= 1
            results.append(self._kernel.do(op))
            if isinstance(op, AddRoute | ReplaceRoute) and results[-1] is None:
                self.written.add(op.route)
        return results


@given(cases(), st.integers(0, 12))
def test_what_was_written_before_any_death_is_told_from_all_else(case: Case, ops_until_death: int) -> None:
    kernel, journal = case.kernel(), MemoryJournal()
    recording = RecordingKernel(kernel, ops_until_death)
    looked_ours = {route for route in all_routes(read(kernel)) if is_ours(route, Ownership(OWNERSHIP.networks))}

    async def main() -> None:
        reconciler = Reconciler(recording, journal, rng=Random(1))
        reconciler.want(case.desired, pools=OWNERSHIP.networks, in_sync=ALL_IN_SYNC)
        task = asyncio.create_task(reconciler.run())
        await asyncio.wait([task], timeout=1)
        task.cancel()

    run(main())
    empty_memory = Ownership(journal.claims.pools | OWNERSHIP.networks, journal.claims.routes)
    for route in all_routes(read(kernel)):
        was_ours = route in recording.written or route in looked_ours
        assert is_ours(route, empty_memory) == was_ours, route
