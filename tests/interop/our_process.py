"""The speaker's process as ``calico-node -bgp`` starts it, in a folder of the test's: ``our_process NODE FOLDER``."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from bgp.daemon import BgpConfig, run
from datastore.sqlite import SqliteStore


def main(node: str, folder: Path) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    config = BgpConfig(node, "", folder / "bgp.sock", folder, folder / "lib")
    asyncio.run(run(config, SqliteStore(str(folder / "datastore.sqlite"))))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
