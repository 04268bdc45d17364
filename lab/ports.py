"""TCP ports for servers that are started by their number.

They lie below those that the kernel gives to outgoing connections, so that none of these takes one before its server
listens there, and none is given out twice in a process.
"""

from __future__ import annotations

import random
import socket

_RANGE = range(15_000, 30_000)  # below ip_local_port_range and Kubernetes' NodePorts
_given: set[int] = set()


def free_port(address: str = "127.0.0.1") -> int:
    """One that nobody listens on. Raises OSError when there is none."""
    for port in random.sample(_RANGE, len(_RANGE)):
        if port not in _given and _is_free(address, port):
            _given.add(port)
            return port
    raise OSError(f"no free port on {address} in {_RANGE.start}-{_RANGE.stop - 1}")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
