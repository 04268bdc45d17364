"""Hears the API server's pulse: this node's Lease, which its kubelet renews every ten seconds.

A connection that stands and passes nothing on (a proxy that hangs, a server that forgot a watch) looks like one on
which nothing happens, and bookmarks cannot tell: a kind that nobody writes gets none. But the Lease is written all the
time, so a watch of it that falls silent is either deaf or has nothing to tell. One question answers that: if the server
knows of a Lease that we did not hear of, or says nothing, every watch is taken up again. While all is well this costs
no request.

Where there is no Lease to hear, or no right to hear it, a silent watch is noticed when the server does not end it.
Source: Kubernetes, node heartbeats (Leases in kube-node-lease).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

from datastore.kubernetes.client import Client, Stream
from datastore.kubernetes.trouble import Asked
from datastore.resource import Key
from datastore.store import Forbidden, Missing, StoreError, Unavailable

QUIET_S = 20.0
"""Twice as long as a kubelet waits."""
ANSWER_S = 5.0
LONGEST_QUIET_S = 320.0
"""Between two questions about a Lease that nobody renews."""
LOOK_AGAIN_S = 600.0
PAUSE_S = 2.0

log = logging.getLogger("datastore.pulse")

_FOLDER = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Pulse:
    """Of the server that ``client`` speaks to, by the Lease of ``node``. :meth:`begin` it once something is watched."""

    def __init__(self, client: Client, node: str, *, quiet_s: float = QUIET_S, answer_s: float = ANSWER_S) -> None:
        self._client, self._node = client, node
        self._quiet_s, self._answer_s = quiet_s, answer_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """More than once is once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="pulse")

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            pause_s = PAUSE_S
            try:
                await self._listen()
            except (Missing, Forbidden) as error:
                log.info("pulse.none node=%s why=%r", self._node, str(error))
                pause_s = LOOK_AGAIN_S
            except (StoreError, TimeoutError):
                pass  # those who watch are told so themselves
            await asyncio.sleep(pause_s)

    async def _listen(self) -> None:
        """Until the server ends the watch, or everybody's. Raises StoreError, TimeoutError."""
        seen = await self._revision()
        asked = Asked("watch", "leases", Key("Lease", self._node), seen)
        query = {"watch": "1", "resourceVersion": seen, "fieldSelector": f"metadata.name={self._node}"}
        quiet_s = self._quiet_s
        async with self._client.watch(_FOLDER, asked, query=query) as stream:
            while (events := await stream.read(patience_s=quiet_s)) is not None:
                if events:
                    seen, quiet_s = _revision_of(events[-1]["object"]), self._quiet_s
                elif await self._is_deaf(stream, seen):
                    self._client.doubt(f"nothing came from the API server for {quiet_s:.0f} s, and much should have")
                    return
                else:
                    quiet_s = min(2 * quiet_s, LONGEST_QUIET_S)

    async def _is_deaf(self, stream: Stream, seen: str) -> bool:
        """Whether there was something to hear. Raises StoreError, Missing above all, where there is no Lease to ask."""
        try:
            async with asyncio.timeout(self._answer_s):
                now = await self._revision()
        except (Unavailable, TimeoutError):
            return True
        return now != seen and not await stream.read(patience_s=1.0)

    async def _revision(self) -> str:
        asked = Asked("get", "leases", Key("Lease", self._node, "kube-node-lease"))
        return _revision_of(await self._client.ask("GET", f"{_FOLDER}/{quote(self._node, safe='')}", asked))


def _revision_of(lease: Any) -> str:
    return str(lease["metadata"].get("resourceVersion") or "")
