"""This node's endpoints as pods.py sees them: put into the view at once, and waited for until the kernel has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from datastore.resource import Key
from datastore.resources import WorkloadEndpoint
from felix.dataplane import Dataplane
from felix.fib.model import IPV6_METRIC, RouteKey
from felix.fib.status import NotSettled
from felix.pods import NotRouted

PATIENCE_S = 5.0
"""How long an ADD waits for its route: a pass takes milliseconds, so more means that something is wrong."""


class LocalEndpoints:
    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane

    @contextmanager
    def being_made(self, device: str) -> Iterator[None]:
        unfinished = self._dataplane.view.unfinished
        unfinished.add(device)
        try:
            yield
        finally:
            unfinished.discard(device)
            self._dataplane.changed()

    def put(self, endpoint: WorkloadEndpoint) -> None:
        if self._dataplane.view.put(endpoint):
            self._dataplane.changed()

    def gone(self, key: Key) -> None:
        if self._dataplane.view.gone(key):
            self._dataplane.changed()

    def known(self, key: Key) -> WorkloadEndpoint | None:
        return self._dataplane.view.endpoints.get(key)

    def all(self) -> Sequence[WorkloadEndpoint]:
        view = self._dataplane.view
        return [endpoint for endpoint in view.endpoints.values() if endpoint.node == view.node]

    async def routed(self, endpoint: WorkloadEndpoint) -> None:
        """Raises NotRouted: another program's route is in the way, the kernel refuses, or nothing came in time."""
        keys = [RouteKey(network, 0 if network.version == 4 else IPV6_METRIC) for network in endpoint.networks]
        reconciler = self._dataplane.reconciler
        try:
            async with asyncio.timeout(PATIENCE_S):
                await reconciler.settled(keys)
        except NotSettled as error:
            raise NotRouted(str(error)) from None
        except TimeoutError:
            waiting = "; ".join(f"{key.dst}: {reconciler.status(key)}" for key in keys)
            raise NotRouted(f"the kernel has no route to the pod after {PATIENCE_S:.0f} s: {waiting}") from None
