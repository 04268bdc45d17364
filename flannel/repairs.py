"""How often somebody else's doing had to be put right. Pure.

A write is a repair if nothing new was wanted since all of it was in the kernel: then the kernel has lost it.
"""

from __future__ import annotations

from collections.abc import Sequence

from felix.fib.model import Desired
from felix.fib.status import Applied


class Repairs:
    """``count`` since the start."""

    def __init__(self) -> None:
        self.count = 0
        self._settled: Desired | None = None

    def note(self, desired: Desired, done: Sequence[Applied]) -> None:
        """These were written because that is wanted."""
        if desired == self._settled:
            self.count += sum(one.refusal is None for one in done)

    def passed(self, desired: Desired, *, is_settled: bool) -> None:
        """A pass is over, and left nothing to do or something."""
        if is_settled:
            self._settled = desired
