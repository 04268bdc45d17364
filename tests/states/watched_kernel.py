"""A model kernel that looks at every op of felix as it comes, and refuses to go on where an invariant breaks."""

from __future__ import annotations

from collections.abc import Sequence

from felix.fib.journal import MemoryJournal
from felix.fib.model import AddRoute, DeleteRoute, Op, RaiseLink, Refusal, ReplaceRoute, Route, WriteSysctl
from felix.fib.model_kernel import ModelKernel
from felix.fib.owner import Ownership, is_ours


class WatchedKernel(ModelKernel):
    """``ops_until_death``: after so many ops felix is killed in the middle of its work, once."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__()
        self._journal = journal
        self.ops_until_death: int | None = None
        self.seen: list[Op] = []

    async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
        return [self._watch(op) for op in ops]

    def _watch(self, op: Op) -> Refusal | None:
        if self.ops_until_death == 0:
            raise Killed
        if self.ops_until_death is not None:
            self.ops_until_death -= 1
        self.seen.append(op)
        match op:
            case AddRoute(route):
                self._must_be_recognised(route)
            case ReplaceRoute(route, over):
                self._must_be_recognised(route)
                self._must_be_ours_or_a_persons(over)
            case DeleteRoute(route):
                self._must_be_ours(route)
            case RaiseLink(device):
                assert device.startswith("cali"), f"invariant 4: {device} is not ours to raise"
            case WriteSysctl():
                pass
        return self.do(op)

    def _must_be_recognised(self, route: Route) -> None:
        assert is_ours(route, self._with_an_empty_memory()), f"invariant 3: nobody could tell that {route} is ours"

    def _must_be_ours(self, route: Route) -> None:
        assert is_ours(route, self._with_an_empty_memory()), f"invariant 4: {route} is not ours"

    def _must_be_ours_or_a_persons(self, route: Route) -> None:
        """What a person put in the place of ours while felix looked on has proto boot."""
        assert route.protocol == 3 or is_ours(route, self._with_an_empty_memory()), f"invariant 4: {route} is not ours"

    def _with_an_empty_memory(self) -> Ownership:
        return Ownership(self._journal.claims.pools, self._journal.claims.routes)


class Killed(BaseException):
    """kill -9: nothing that felix would do on its way out is done."""
