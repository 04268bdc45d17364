"""Tells Kubernetes whether this node has a network: when felix is ready, and when the pod is told to end.

For clusters whose datastore is another, Kubernetes is not asked: nothing says where it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from datastore.kubernetes.condition import Network, tell
from datastore.store import StoreError
from felix.startup.name import node_name

RETRY_S = 5.0

log = logging.getLogger("felix.lifecycle")


def is_told(environ: Mapping[str, str]) -> bool:
    """CALICO_NETWORKING_BACKEND=none: another network is the node's, and says so itself."""
    is_here = environ.get("DATASTORE_TYPE") == "kubernetes"
    return is_here and environ.get("CALICO_NETWORKING_BACKEND", "").lower() != "none"


async def tell_once(environ: Mapping[str, str], network: Network) -> None:
    """Raises StoreError."""
    from datastore.kubernetes.connect import client_of  # 9 MiB that other datastores do without

    client = client_of(environ)
    try:
        await tell(client, node_name(environ), network, at=datetime.now(UTC))
    finally:
        await client.close()


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
