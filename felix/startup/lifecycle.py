"""Tells Kubernetes whether this node has a network: when felix is ready, and when the pod is told to end.

For clusters whose datastore is another, Kubernetes is not asked: nothing says where it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from datastore.kubernetes.condition import GONE, Network, patch, tell
from datastore.kubernetes.trouble import Asked
from datastore.resource import Key
from datastore.store import Missing, StoreError
from felix.first_seen import ANNOTATIONS, FirstSeen, of_calico
from felix.startup.name import node_name

if TYPE_CHECKING:
    from datastore.kubernetes.client import Client

RETRY_S = 5.0

log = logging.getLogger("felix.lifecycle")


def is_told(environ: Mapping[str, str]) -> bool:
    """CALICO_NETWORKING_BACKEND=none: another network is the node's, and says so itself."""
    is_here = environ.get("DATASTORE_TYPE") == "kubernetes"
    return is_here and environ.get("CALICO_NETWORKING_BACKEND", "").lower() != "none"


async def remember(environ: Mapping[str, str], first_seen: FirstSeen) -> None:
    """What the Node said before we wrote to it, for an uninstall. Raises StoreError, OSError."""
    if is_told(environ) and not first_seen.knows(ANNOTATIONS):
        first_seen.record(ANNOTATIONS, await _annotations(environ))


async def forget(environ: Mapping[str, str], first_seen: FirstSeen) -> None:
    """Make the Node say what it said before, and nothing of its network. Raises StoreError."""
    before = first_seen.of(ANNOTATIONS)
    wanted = {name: before.get(name) for name in {*await _annotations(environ), *before}}
    async with _client(environ) as client:
        await patch(client, node_name(environ), {"metadata": {"annotations": wanted}, "status": {"conditions": [GONE]}})


async def _annotations(environ: Mapping[str, str]) -> dict[str, str]:
    name = node_name(environ)
    async with _client(environ) as client:
        try:
            node: dict[str, Any] = await client.ask(
                "GET", f"/api/v1/nodes/{name}", Asked("get", "nodes", Key("Node", name))
            )
        except Missing:
            return {}
    return of_calico(node["metadata"].get("annotations") or {})


async def tell_once(environ: Mapping[str, str], network: Network) -> None:
    """Raises StoreError."""
    async with _client(environ) as client:
        await tell(client, node_name(environ), network, at=datetime.now(UTC))


async def tell_when(ready: asyncio.Event, environ: Mapping[str, str]) -> None:
    """Returns when Kubernetes knows that the network is up."""
    await ready.wait()
    is_known = not is_told(environ)
    while not is_known:
        try:
            await tell_once(environ, Network.UP)
            is_known = True
        except StoreError as error:
            log.warning("condition.not_told why=%r", str(error))
            await asyncio.sleep(RETRY_S)


async def shut_down(environ: Mapping[str, str]) -> None:
    """Raises StoreError. The dataplane stays as it is, and pods that run go on."""
    if is_told(environ):
        await tell_once(environ, Network.DOWN)


@asynccontextmanager
async def _client(environ: Mapping[str, str]) -> AsyncIterator[Client]:
    from datastore.kubernetes.connect import client_of  # 9 MiB that other datastores do without

    client = client_of(environ)
    try:
        yield client
    finally:
        await client.close()
