"""Runs a program of the packet filter to its end, without blocking the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from felix.firewall.model import FirewallUnavailable

_TIMEOUT_S = 30.0


async def execute(words: Sequence[str], stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit status, output, errors. Raises FirewallUnavailable if the program is missing or does not end."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise FirewallUnavailable(f"{words[0]} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            out, err = await process.communicate(stdin)
    except TimeoutError as error:
        raise FirewallUnavailable(f"{' '.join(words)} did not end within {_TIMEOUT_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")
