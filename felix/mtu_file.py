"""/var/lib/calico/mtu: where CNI plugins, Calico's too, find the MTU for new pods. A bare decimal number.

Replaced as a whole, so that nobody ever reads half of it, and never removed: pods are made while felix is down as well.
Source: Calico felix/dataplane/linux (writeMTUFile), cni-plugin (MTUFromFile).
"""

from __future__ import annotations

from pathlib import Path

FILE = Path("/var/lib/calico/mtu")


class MtuFile:
    def __init__(self, path: Path = FILE) -> None:
        self._path = path
        self._written: int | None = None

    def offer(self, mtu_bytes: int) -> str:
        """Let it say so. Returns why that could not be done, or ""; then the next call tries again."""
        if mtu_bytes == self._written:
            return ""
        try:
            if self._read() != str(mtu_bytes):
                self._write(str(mtu_bytes))
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        self._written = mtu_bytes
        return ""

    def _read(self) -> str:
        try:
            return self._path.read_text()
        except FileNotFoundError:
            return ""

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.replace(self._path)
