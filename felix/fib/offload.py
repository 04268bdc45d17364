"""The checksums of VXLAN packets, where the kernel gets them wrong.

Up to Linux 5.7 a packet whose source was translated on its way into the tunnel leaves with a broken checksum, when the
device leaves that to the hardware. There it is switched off. Source: Calico felix (ChecksumOffloadBroken), ethtool.h.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from contextlib import suppress

LAST_BROKEN = (5, 7)
_SIOCETHTOOL = 0x8946
_ETHTOOL_GTXCSUM, _ETHTOOL_STXCSUM = 0x16, 0x17


def is_broken(release: str) -> bool:
    """``release`` is ``uname -r``: 5.4.0-42-generic, 6.18.44. One that cannot be read counts as sound."""
    numbers = release.replace("-", ".").split(".")
    if not all(number.isdigit() for number in numbers[:2]) or len(numbers) < 2:
        return False
    version = int(numbers[0]), int(numbers[1])
    is_last_and_patched = version == LAST_BROKEN and numbers[2:3] not in ([], ["0"])
    return version <= LAST_BROKEN and not is_last_and_patched


def switch_off_where_broken(device: str) -> None:
    """Does its best: a device that cannot be asked keeps what it has."""
    if is_broken(os.uname().release):
        with suppress(OSError):
            switch_off(device)


def switch_off(device: str) -> None:
    """``ethtool -K DEVICE tx off``. Raises OSError."""
    _ethtool(device, _ETHTOOL_STXCSUM, 0)


def is_on(device: str) -> bool:
    """Raises OSError."""
    return _ethtool(device, _ETHTOOL_GTXCSUM, 0) != 0


def _ethtool(device: str, command: int, value: int) -> int:
    words = array.array("I", [command, value])
    address, _ = words.buffer_info()
    request = struct.pack("16sP", device.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        fcntl.ioctl(door, _SIOCETHTOOL, request)
    return words[1]
