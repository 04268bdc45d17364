"""``calico-node -felix-ready`` and its like: asked by the kubelet, answered by the daemons, exit status 0 or 1.

felix answers over HTTP, the speaker over bird.ctl in BIRD's own words. Wording: Calico node/pkg/health.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable

PATIENCE_S = 5.0
BIRD_SOCKET = "/var/run/calico/bird.ctl"
BFD_SOCKET = "/var/run/calico/bfd.sock"
_NEIGHBOUR = re.compile(r"(Mesh|Node|Global)_")


def felix(quality: str) -> str:
    """Why felix is not ``liveness`` or ``readiness``; "" when it is."""
    host = os.environ.get("FELIX_HEALTHHOST", "localhost")
    port = int(os.environ.get("FELIX_HEALTHPORT", "9099"))
    adjective = {"liveness": "live", "readiness": "ready"}[quality]
    try:
        status = _http_status(host, port, f"/{quality}")
    except OSError as error:
        return f'Felix is not {adjective}: Get "http://{host}:{port}/{quality}": {error}'
    return "" if 200 <= status < 300 else f"felix is not {adjective}: {quality} probe reporting {status}"


def why(address: str) -> str:
    """What felix says of the way to ``address`` from this node. Raises OSError when it does not answer."""
    return _page(f"/why/{address}")


def notes() -> list[str]:
    """What felix has for a person to know. Raises OSError when it does not answer."""
    return _page("/notes").splitlines()


def _page(path: str) -> str:
    host = os.environ.get("FELIX_HEALTHHOST", "localhost")
    port = int(os.environ.get("FELIX_HEALTHPORT", "9099"))
    with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise OSError(f"felix answered {head[:80]!r}")
    return body.decode()


def _http_status(host: str, port: int, path: str) -> int:
    with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = connection.makefile("rb").readline()
    return int(head.split()[1]) if head.startswith(b"HTTP/") else 0


def bfd_live() -> str:
    """Why the process that watches neighbours is not live; "" when it greets."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(BFD_SOCKET)
            greeting = connection.makefile("rb").readline()
    except OSError as error:
        return f"bfd is not live: {BFD_SOCKET}: {error}"
    return "" if b"hello" in greeting else f"bfd is not live: it says {greeting!r}"


def bird_live() -> str:
    """Why the speaker is not live; "" when it answers."""
    try:
        said = _ask_bird("show status")
    except OSError as error:
        return f"bird is not live: unable to connect to BIRDv4 socket: {error}"
    return "" if "BIRD" in said else f"bird is not live: it answered {said[:80]!r}"


def bird_ready() -> str:
    """Why the speaker is not ready: no neighbour is established although some are configured."""
    try:
        said = _ask_bird("show protocols")
    except OSError as error:
        return f"BIRD is not ready: Failed to stat() nodename file or connect: {error}"
    rows = [words for words in map(str.split, said.splitlines()) if words and _NEIGHBOUR.match(words[0])]
    down = [words[0].partition("_")[2].replace("_", ".") for words in rows if words[5:6] != ["Established"]]
    return f"BIRD is not ready: BGP not established with {','.join(down)}" if rows and len(down) == len(rows) else ""


def _ask_bird(command: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(BIRD_SOCKET)
        stream = connection.makefile("rwb")
        greeting = stream.readline()
        if not greeting.startswith(b"0001"):
            raise OSError(f"BIRD's greeting was {greeting!r}")
        stream.write(command.encode() + b"\n")
        stream.flush()
        return _reply(stream.readline)


def _reply(readline: Callable[[], bytes]) -> str:
    """The lines up to the one whose code ends the reply, codes cut off."""
    lines = []
    while line := readline().decode(errors="replace"):
        code, rest = line[:5], line[5:]
        lines.append(line[1:].rstrip() if line.startswith(" ") else rest.rstrip())
        if re.match(r"\d{4} ", code):
            break
    return "\n".join(line for line in lines if line.strip())
