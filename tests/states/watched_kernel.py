"""A model kernel that looks at every op of felix as it comes, and refuses to go on where an invariant breaks."""

from __future__ import annotations

from collections.abc import Sequence

from felix.fib.journal import Claims, MemoryJournal
from felix.fib.model import AddRoute, DeleteRoute, Op, Protocol, RaiseLink, Refusal, ReplaceRoute
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
        flaw = flaw_of(op, self._journal.claims)
        assert not flaw, flaw
        return self.do(op)


def flaw_of(op: Op, claims: Claims) -> str:
    """Which of invariants 3 and 4 the op breaks, judged with an empty memory and the journal; "" for none.

    A replacement may take the place of proto boot: what a person put there while felix looked on.
    """
    empty_memory = Ownership(claims.pools, claims.routes)
    match op:
        case ReplaceRoute(_, over) if over.protocol != Protocol.BOOT and not is_ours(over, empty_memory):
            return f"invariant 4: {over} is not ours"
        case AddRoute(route) | ReplaceRoute(route) if not is_ours(route, empty_memory):
            return f"invariant 3: nobody could tell that {route} is ours"
        case DeleteRoute(route) if not is_ours(route, empty_memory):
            return f"invariant 4: {route} is not ours"
        case RaiseLink(device) if not device.startswith("cali"):
            return f"invariant 4: {device} is not ours to raise"
        case _:
            return ""


class Killed(BaseException):
    """kill -9: nothing that felix would do on its way out is done."""
