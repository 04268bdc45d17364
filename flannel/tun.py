"""The TUN device of the udp backend: packets that the kernel routes to it are read from a file, and written to it.

It lives as long as the file is open. Source: Linux Documentation/networking/tuntap.rst, uapi/linux/if_tun.h, if.h.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from contextlib import closing
from ipaddress import IPv4Address

from flannel.backends.backend import Refused
from flannel.marks import TUN_DEVICE

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU = 0x8913, 0x8914, 0x8916, 0x891C, 0x8922
_IFF_UP = 0x1


def open_tun(address: IPv4Address, mtu_bytes: int) -> int:
    """The file of a device that is up, with ``address`` as a /32. Raises Refused."""
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = f"failed to open TUN device: /dev/net/tun: {error.strerror}"
        raise Refused(f"{why}; the udp backend needs it, and a container must be privileged") from None
    try:
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", TUN_DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
        _configure(address, mtu_bytes)
    except OSError as error:
        os.close(tun)
        raise Refused(f"failed to configure {TUN_DEVICE}: {error.strerror}") from None
    return tun


def _configure(address: IPv4Address, mtu_bytes: int) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as door:
        fcntl.ioctl(door, _SIOCSIFMTU, struct.pack("16si20x", TUN_DEVICE.encode(), mtu_bytes))
        fcntl.ioctl(door, _SIOCSIFADDR, _with_address(address))
        fcntl.ioctl(door, _SIOCSIFNETMASK, _with_address(IPv4Address("255.255.255.255")))
        flags = struct.unpack_from("h", fcntl.ioctl(door, _SIOCGIFFLAGS, struct.pack("40s", TUN_DEVICE.encode())), 16)[
            0
        ]
        fcntl.ioctl(door, _SIOCSIFFLAGS, struct.pack("16sh22x", TUN_DEVICE.encode(), flags | _IFF_UP))


def _with_address(address: IPv4Address) -> bytes:
    return struct.pack("16sHH4s16x", TUN_DEVICE.encode(), socket.AF_INET, 0, address.packed)
