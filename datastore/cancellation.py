"""Who goes on after a task group failed asks here whether it was cancelled in that very moment.

A task group whose child fails just when its own task is cancelled raises the child's failure alone, and the
cancellation is lost (CPython 3.11 and 3.12, gh-116720): a daemon that is told to end as an outage begins would never.
"""

from __future__ import annotations

import asyncio


def end_if_cancelled() -> None:
    """Raises CancelledError."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
