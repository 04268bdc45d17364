"""What tells an object from one that had its name before."""

from __future__ import annotations

import os


def new_uid() -> str:
    """A random UUID (version 4); the module uuid takes 6 ms to import."""
    drawn = bytearray(os.urandom(16))
    drawn[6], drawn[8] = drawn[6] & 0x0F | 0x40, drawn[8] & 0x3F | 0x80
    text = drawn.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
