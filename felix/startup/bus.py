"""One question to a program on the machine's message bus: no library is needed for that, and the image has none.

Only what such a question needs: a method call without arguments or with one number, and its answer.
Source: the D-Bus specification (dbus.freedesktop.org/doc/dbus-specification.html), Message Protocol, Authentication.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, pack, unpack_from

SYSTEM_BUS = Path("/run/dbus/system_bus_socket")
PATIENCE_S = 5.0

_CALL, _RETURN, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _DESTINATION, _SIGNATURE = 1, 2, 3, 6, 8
_HEADER = Struct("<BBBBIII")  # byte order, type, flags, version, length of body, serial, length of fields
_LITTLE_ENDIAN = ord("l")
_NOBODY = ("org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner")


@dataclass(frozen=True, slots=True)
class Call:
    """``number``: the method's argument, where it has one."""

    destination: str
    path: str
    interface: str
    member: str
    number: int | None = None


_HELLO = Call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")


class BusError(Exception):
    """The bus, or the program asked, refuses; the message is its own word."""


class Nobody(BusError):
    """No such program is on the bus."""


def ask(call: Call, *, bus: Path = SYSTEM_BUS) -> None:
    """Returns when it was done. Raises BusError, Nobody; OSError where there is no bus."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(bus))
        read = connection.makefile("rb").read
        _authenticate(connection, read)
        for serial, each in enumerate((_HELLO, call), 1):
            connection.sendall(encode(each, serial))
            _answer(read)


def _authenticate(connection: socket.socket, read: Callable[[int], bytes]) -> None:
    """As the user that the kernel says we are."""
    connection.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
    line = b""
    while not line.endswith(b"\r\n"):
        if not (letter := read(1)):
            raise BusError("the bus hangs up")
        line += letter
    if not line.startswith(b"OK "):
        raise BusError(f"the bus does not let us in: {line.decode(errors='replace').strip()}")
    connection.sendall(b"BEGIN\r\n")


def encode(call: Call, serial: int) -> bytes:
    body = b"" if call.number is None else pack("<I", call.number)
    fields = b""
    for field in _fields(call):
        fields = _aligned(fields) + field
    header = _HEADER.pack(_LITTLE_ENDIAN, _CALL, 0, 1, len(body), serial, len(fields))
    return _aligned(header + fields) + body


def _fields(call: Call) -> Iterator[bytes]:
    yield _field(_PATH, "o", call.path)
    yield _field(_INTERFACE, "s", call.interface)
    yield _field(_MEMBER, "s", call.member)
    yield _field(_DESTINATION, "s", call.destination)
    if call.number is not None:
        yield bytes((_SIGNATURE,)) + b"\x01g\0" + b"\x01u\0"


def _field(code: int, kind: str, text: str) -> bytes:
    value = text.encode()
    return bytes((code, 1)) + kind.encode() + b"\0" + pack("<I", len(value)) + value + b"\0"


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _answer(read: Callable[[int], bytes]) -> None:
    """Reads past signals."""
    while True:
        header = read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise BusError("the bus hangs up")
        order, kind, _, _, body_length, _, fields_length = _HEADER.unpack(header)
        if order != _LITTLE_ENDIAN:
            raise BusError("the bus answers in an order of bytes that we did not begin")
        fields = read(fields_length + -fields_length % 8)
        body = read(body_length)
        if kind == _RETURN:
            return
        if kind == _ERROR:
            text = body[4 : 4 + unpack_from("<I", body)[0]].decode(errors="replace") if len(body) > 4 else ""
            if any(name.encode() in fields for name in _NOBODY):
                raise Nobody(text)
            raise BusError(text or "refused")
