"""What a node said before anything of ours was written to it, kept on its disk until an uninstall puts it back.

Of each setting the first value is kept and no later one: a restart reads what an earlier felix has written. A value is
on disk before ours takes its place. Devices of ours take their settings with them; those are not kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from felix.fib.kernel import Change, Kernel, KernelUnavailable
from felix.fib.model import Actual, Op, Refusal, WriteSysctl

FILE = Path("/var/lib/calico/first-seen.json")
SYSCTLS, ANNOTATIONS = "sysctls", "annotations"
_OURS = ("/cali", "/vxlan.calico/", "/vxlan-v6.calico/")


class FirstSeen:
    """One file. ``record`` raises OSError when the disk does not take it."""

    def __init__(self, path: Path = FILE) -> None:
        self._path = path
        self._kept: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}

    def knows(self, topic: str) -> bool:
        return topic in self._kept

    def of(self, topic: str) -> Mapping[str, str]:
        return self._kept.get(topic, {})

    def record(self, topic: str, values: Mapping[str, str]) -> None:
        """Those that are not known yet."""
        known = self._kept.get(topic, {})
        if topic in self._kept and values.keys() <= known.keys():
            return
        self._kept[topic] = {**values, **known}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump(self._kept, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)


class RememberingKernel:
    """A kernel that keeps the first value of each sysctl before it writes it."""

    def __init__(self, kernel: Kernel, first_seen: FirstSeen) -> None:
        self._kernel, self._first_seen = kernel, first_seen

    def listen(self, wake: Callable[[], None]) -> None:
        self._kernel.listen(wake)

    def take_changes(self) -> Sequence[Change]:
        return self._kernel.take_changes()

    async def read(self) -> Actual:
        return await self._kernel.read()

    def read_sysctls(self, paths: Collection[str]) -> Mapping[str, str]:
        return self._kernel.read_sysctls(paths)

    async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
        paths = [op.path for op in ops if isinstance(op, WriteSysctl) and not any(mark in op.path for mark in _OURS)]
        if paths:
            self._keep(paths)
        return await self._kernel.apply(ops)

    async def close(self) -> None:
        await self._kernel.close()

    def _keep(self, paths: Collection[str]) -> None:
        """Raises KernelUnavailable: what could not be put back later is not written now."""
        try:
            self._first_seen.record(SYSCTLS, self._kernel.read_sysctls(paths))
        except OSError as error:
            raise KernelUnavailable(f"{FILE.name}: {error.strerror}") from error


def of_calico(annotations: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in annotations.items() if name.startswith("projectcalico.org/")}
