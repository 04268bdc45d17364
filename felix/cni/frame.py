"""The bytes between the plugin and felix. Pure; cni_plugin/plugin.py describes them and is the other end."""

from __future__ import annotations

from collections.abc import Mapping

MAGIC = b"TCN1"
HEADER_BYTES = 8
LONGEST_PART_BYTES = 1 << 20


class BadFrame(ValueError):
    """Not a request of ours, or larger than any real one: close the connection."""


def parse(request: bytes) -> tuple[dict[str, str], bytes] | None:
    """The CNI_ variables and standard input; None while there is more to come. Raises BadFrame."""
    if len(request) < HEADER_BYTES:
        _check_magic(request)
        return None
    _check_magic(request)
    block_end = HEADER_BYTES + _length(request, 4)
    if len(request) < block_end + 4:
        return None
    end = block_end + 4 + _length(request, block_end)
    if len(request) < end:
        return None
    if len(request) > end:
        raise BadFrame(f"{len(request) - end} bytes after the request")
    return _variables(request[HEADER_BYTES:block_end]), request[block_end + 4 :]


def answer(status: int, output: bytes) -> bytes:
    return status.to_bytes(4, "big") + len(output).to_bytes(4, "big") + output


def of(variables: Mapping[str, str], stdin: bytes) -> bytes:
    """A request's bytes."""
    block = b"".join(f"{key}={value}".encode(errors="surrogateescape") + b"\0" for key, value in variables.items())
    return MAGIC + len(block).to_bytes(4, "big") + block + len(stdin).to_bytes(4, "big") + stdin


def _check_magic(request: bytes) -> None:
    if not MAGIC.startswith(request[:4]) and request[:4] != MAGIC:
        raise BadFrame("not a request of the CNI plugin, or of another version of it")


def _length(request: bytes, at: int) -> int:
    length = int.from_bytes(request[at : at + 4], "big")
    if length > LONGEST_PART_BYTES:
        raise BadFrame(f"a part of {length} bytes")
    return length


def _variables(block: bytes) -> dict[str, str]:
    pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in block.split(b"\0") if entry)
    return {key: value for key, _, value in pairs}
