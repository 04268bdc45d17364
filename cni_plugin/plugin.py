#!/usr/bin/python3 -IS
"""The CNI plugin that the container runtime executes: hands its request to felix and prints what felix answers.

It holds no credentials and decides nothing. With felix away, DEL is written into a spool that felix works off before
its next ADD, so that a pod can always be deleted; the other commands fail with the CNI specification's codes, and the
runtime tries again.

Only the standard library, and little of it: this runs once or twice for every pod, and most of its time is the
interpreter's start.

    request   "TCN1", then the length of the CNI_ variables and the variables (KEY=VALUE, each ended by NUL), then the
              length of standard input and standard input; lengths are 4 bytes, big-endian. The first byte carries the
              pod's network namespace as a file descriptor (SCM_RIGHTS): felix may not see its path.
    answer    the exit status and the length of standard output, 4 bytes each, then standard output.

Source: the CNI specification 1.1.0; felix/cni/frame.py is the other end.
"""

import _socket  # socket itself costs 4 ms for enums that are not needed here
import os
import sys
import time

SOCKET = "/var/run/calico/cni.sock"
SPOOL = "/var/lib/calico/cni-deleted"
LONGEST_WAIT_S = 90.0
RESTART_S = 3.5
"""An ADD waits so long for a felix that is about to start: a runtime that is refused comes back after ten seconds."""
LOOK_AGAIN_S = 0.05
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50


def main() -> int:
    variables = {key: value for key, value in os.environ.items() if key.startswith("CNI_")}
    stdin = sys.stdin.buffer.read()
    command = variables.get("CNI_COMMAND", "")
    if command == "VERSION":
        return say('{"cniVersion":"1.1.0","supportedVersions":[%s]}' % ",".join(f'"{v}"' for v in VERSIONS))
    request = frame(variables, stdin)
    try:
        status, output = ask(request, variables.get("CNI_NETNS", ""), RESTART_S if command == "ADD" else 0.0)
    except OSError as error:
        return without_felix(command, request, variables, error)
    sys.stdout.buffer.write(output)
    return status


def frame(variables: dict[str, str], stdin: bytes) -> bytes:
    block = b"".join(f"{key}={value}".encode(errors="surrogateescape") + b"\0" for key, value in variables.items())
    return b"TCN1" + len(block).to_bytes(4, "big") + block + len(stdin).to_bytes(4, "big") + stdin


def ask(request: bytes, netns: str, patience_s: float) -> tuple[int, bytes]:
    """Raises OSError when felix does not answer."""
    connection = knock(time.monotonic() + patience_s)
    namespace = open_if_there(netns)
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, namespace.to_bytes(4, sys.byteorder))] if namespace >= 0 else []
    sent = connection.sendmsg([request], rights)
    if sent < len(request):
        connection.sendall(request[sent:])
    head = receive(connection, 8)
    return int.from_bytes(head[:4], "big"), receive(connection, int.from_bytes(head[4:], "big"))


def knock(deadline: float) -> _socket.socket:
    """The connection. Nothing tells when felix is back, so it is tried again and again. Raises OSError."""
    while True:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.settimeout(LONGEST_WAIT_S)
        try:
            connection.connect(os.environ.get("TORTIE_CNI_SOCKET") or SOCKET)
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() >= deadline:
                raise
        time.sleep(LOOK_AGAIN_S)


def open_if_there(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else -1
    except OSError:
        return -1


def receive(connection: _socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        some = connection.recv(size - len(received))
        if not some:
            raise ConnectionError("felix closed the connection before its answer")
        received += some
    return received


def without_felix(command: str, request: bytes, variables: dict[str, str], error: OSError) -> int:
    why = f"calico-node's felix does not answer at {SOCKET} ({error}): check that it runs on this node"
    if command == "DEL":
        try:
            spool(request, variables)
            return 0
        except OSError as no_disk:
            why += f"; and the deletion cannot be kept until it does: {no_disk.strerror}"
    return fail(NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN_LATER, why)


def spool(request: bytes, variables: dict[str, str]) -> None:
    """One file a container and interface; a later DEL of the same replaces it."""
    folder = os.environ.get("TORTIE_CNI_SPOOL") or SPOOL
    os.makedirs(folder, mode=0o700, exist_ok=True)
    name = f"{variables.get('CNI_CONTAINERID', '')}:{variables.get('CNI_IFNAME', '')}".replace("/", "_")
    partial = f"{folder}/.{name}.{os.getpid()}"
    with open(partial, "wb") as file:
        file.write(request)
        file.flush()
        os.fsync(file.fileno())
    os.rename(partial, f"{folder}/{name}")


def say(text: str) -> int:
    sys.stdout.write(text)
    return 0


def fail(code: int, message: str) -> int:
    quoted = message.replace("\\", "\\\\").replace('"', '\\"')
    sys.stdout.write('{\n    "code": %d,\n    "msg": "%s"\n}' % (code, quoted))
    return 1


if __name__ == "__main__":
    sys.exit(main())
