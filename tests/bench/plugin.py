"""What the CNI plugin itself costs: ``.venv/bin/python -m tests.bench.plugin`` prints one table.

From exec to exit, against a socket whose other end answers at once; what felix does for a pod is measured in node.py.
Beside them /bin/true, which is what starting any program costs here.
"""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from felix.cni import frame
from tests import plugins

CALLS = 300
CONF = b'{"cniVersion":"1.0.0","name":"k8s-pod-network","type":"calico","ipam":{"type":"calico-ipam"}}'


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cni.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            threading.Thread(target=_answer_all, args=[listener], daemon=True).start()
            print(f"{'exec to exit, ms':<20} {'median':>8} {'p99':>8}")
            for name, words in (
                ("/bin/true", ["/bin/true"]),
                *((each, plugins.plugin(each)) for each in plugins.NAMES),
            ):
                took = sorted(_call(words, path) for _ in range(CALLS))
                print(f"{name:<20} {statistics.median(took):>8.2f} {took[CALLS * 99 // 100]:>8.2f}", flush=True)


def _answer_all(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        received = connection.recv(1 << 16)
        while frame.parse(received) is None:
            received += connection.recv(1 << 16)
        connection.sendall(frame.answer(0, b"{}"))
        connection.close()


def _call(words: Sequence[str], path: Path) -> float:
    """Milliseconds. vfork, so that this process's size does not count."""
    environment = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "TORTIE_CNI_SOCKET": str(path)}
    reader, writer = os.pipe()
    os.write(writer, CONF)
    os.close(writer)
    null = os.open(os.devnull, os.O_WRONLY)
    moves = [(os.POSIX_SPAWN_DUP2, reader, 0), (os.POSIX_SPAWN_DUP2, null, 1)]
    before = time.perf_counter()
    child = os.posix_spawn(words[0], list(words), environment, file_actions=moves)
    status = os.waitpid(child, 0)[1]
    took = time.perf_counter() - before
    os.close(reader)
    os.close(null)
    if status:
        raise RuntimeError(f"{words[0]} ended with {status}")
    return took * 1000


if __name__ == "__main__":
    main()
