"""placeholder"""

from __future__ import annotations

import asyncio

from flannel.flags import Flags
from flannel.lease import Subnets


class Masquerade:
    def __init__(self, flags: Flags, *, uses_nftables: bool) -> None: ...
    async def protect(self, networks: Subnets, subnets: Subnets) -> None: ...
    async def run(self) -> None:
        await asyncio.Event().wait()
