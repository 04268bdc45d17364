"""Programs of this machine: what they say, and with which status they end. Nothing is typed into them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import NamedTuple

_LONGEST_S = 60.0
NOT_INSTALLED, NOT_RUN = 127, 126
"""A shell's own statuses."""


class Output(NamedTuple):
    """``text`` has both streams, as they came; where nothing ran, why."""

    status: int
    text: str


def ran(command: str | Sequence[str]) -> Output:
    """What a command said within a minute. A text is split at blanks; no shell reads it."""
    words = command.split() if isinstance(command, str) else command
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_LONGEST_S,
        )
    except FileNotFoundError:
        return Output(NOT_INSTALLED, f"{words[0]} is not installed")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Output(NOT_RUN, str(error))
    return Output(done.returncode, done.stdout)
