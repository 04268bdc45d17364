"""How often we may undo what others do: a burst, then a few times a second, so that a fight costs neither side a
core.
"""

from __future__ import annotations


class Pace:
    def __init__(self, *, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._level = float(burst)
        self._filled_at = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds to wait before the next one. It counts as taken either way."""
        refilled = min(self._burst, self._level + (now - self._filled_at) * self._per_s)
        self._level = max(-1.0, refilled - 1)
        self._filled_at = now
        return max(0.0, -self._level / self._per_s)
