"""DELs that came while felix or the datastore was away: one file each, worked off before the next ADD.

A file is the request as the plugin framed it, so whoever writes one (the plugin, or felix when the datastore does not
answer) needs no other format. Files appear by rename, whole or not at all, and go when their DEL is done; a DEL done
twice does nothing. One that cannot be read is set aside under its name and ".bad", never tried again, never lost.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from felix.cni import frame
from felix.cni.request import CniError, Request, read

FOLDER = Path("/var/lib/calico/cni-deleted")


class Spool:
    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    def add(self, variables: dict[str, str], stdin: bytes) -> None:
        """Keep one DEL. Raises OSError when the disk does not take it: then the runtime must keep it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{variables.get('CNI_CONTAINERID', '')}:{variables.get('CNI_IFNAME', '')}".replace("/", "_")
        partial = self._folder / f".{name}.felix"
        with partial.open("wb") as file:
            file.write(frame.of(variables, stdin))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._folder / name)

    async def drain(self, delete: Callable[[Request], Awaitable[None]]) -> int:
        """Do every DEL that waits; returns how many. What ``delete`` raises ends it, and that file stays."""
        done = 0
        for path in self._waiting():
            request = self._read(path)
            if request is not None:
                await delete(request)
                path.unlink(missing_ok=True)
                done += 1
        return done

    def _waiting(self) -> Iterator[Path]:
        if self._folder.is_dir():
            yield from sorted(
                path for path in self._folder.iterdir() if not path.name.startswith(".") and path.suffix != ".bad"
            )

    def _read(self, path: Path) -> Request | None:
        try:
            parsed = frame.parse(path.read_bytes())
            if parsed is None:
                raise frame.BadFrame("cut short")
            return read(*parsed)
        except FileNotFoundError:
            return None
        except (frame.BadFrame, CniError):
            path.rename(path.with_name(path.name + ".bad"))
            return None
