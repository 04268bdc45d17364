"""Says when the container runtime knows another network's configuration: new pods may then go there and not to us.

Looked at again and again, because the folder is the host's and may be another each time it is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from cni_plugin.install import conflicts
from datastore.events import Event
from datastore.resource import Key

FOLDER = Path("/host/etc/cni/net.d")
OURS = "10-calico.conflist"
PAUSE_S = 30.0

Tell = Callable[[Iterable[Event]], None]


def lines(folder: Path = FOLDER) -> Sequence[str]:
    """One for each other configuration; none where the host's folder is not shown to us."""
    return tuple(conflicts(folder, OURS)) if folder.is_dir() else ()


async def watch(node: str, tell: Tell, folder: Path = FOLDER) -> NoReturn:
    """Until cancelled: ``tell`` what there is."""
    while True:
        tell([Event(Key("Node", node), "OtherNetwork", line) for line in lines(folder)])
        await asyncio.sleep(PAUSE_S)
