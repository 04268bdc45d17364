"""A pod's network: ADD, DEL, CHECK and GC as steps that can be repeated at any point.

ADD, in order: an address (from ipam); the veth pair, and meanwhile the endpoint in the datastore, and connections of
the address's last holder forgotten; the /32 in the kernel.
Each step registers what undoes it, and a failure undoes the steps done so far, last first. A crash undoes nothing; the
runtime's next ADD or DEL of the same container finds everything by its name: the handle by the container, the device
by the pod.

Whatever concerns one device happens one after the other. A pod that was made again under its name has the device of
the old one, so an endpoint is only ever removed for the container that it names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Protocol
from weakref import WeakValueDictionary

from datastore import names
from datastore.codec import decode
from datastore.resource import Key, Resource
from datastore.resources import ClusterInformation, WorkloadEndpoint
from datastore.store import Conflict, Exists, Missing, Store, StoreError, Unavailable
from felix import endpoint as endpoints
from felix import mtu
from felix.cni.request import CniError, Code, Command, NetConf, Request, Workload
from felix.cni.result import Interface
from felix.fib.pod_link import PodSide, VethPlan
from felix.fib.veth import VethError
from ipam.allocator import Assigned, NoAddress
from ipam.allocator import Request as AddressRequest
from ipam.block import AlreadyTaken, Holder
from ipam.choose import NoPool, Wish
from ipam.records import Contention

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

STORE_PATIENCE_S = 4.5
"""How long an ADD waits for the datastore before the runtime is told to try again."""
UNDO_PATIENCE_S = 0.3
"""How long a failed ADD waits for its address to be given back."""

_LOCKED = "Calico is currently not ready to process requests"


class Addresses(Protocol):
    async def assign(self, request: AddressRequest) -> Assigned: ...

    async def assign_address(self, address: Address, holder: Holder) -> Assigned: ...

    async def release(self, handle: str) -> None: ...


class Veths(Protocol):
    async def make(self, netns: int, plan: VethPlan) -> None: ...

    async def remove(self, host_device: str) -> bool: ...

    async def look(self, netns: int, pod_device: str) -> PodSide | None: ...


class Flows(Protocol):
    """What the kernel remembers of addresses' connections. Fails no pod."""

    async def begin(self, address: Address, own_block: Network | None) -> None:
        """It gets a holder: nothing of the last one's is remembered afterwards. ``own_block`` None: it is borrowed."""
        ...

    def end(self, address: Address) -> None:
        """It has no holder any more."""
        ...


class LocalEndpoints(Protocol):
    """felix's own view of this node's endpoints, told at once instead of by the watch."""

    def being_made(self, device: str) -> AbstractContextManager[None]:
        """Meanwhile nobody else raises it, although its endpoint may be heard of already."""
        ...

    def put(self, endpoint: WorkloadEndpoint) -> None: ...

    def gone(self, key: Key) -> None: ...

    def known(self, key: Key) -> WorkloadEndpoint | None:
        """As it probably is: a moment old at times."""
        ...

    def all(self) -> Sequence[WorkloadEndpoint]: ...

    async def routed(self, endpoint: WorkloadEndpoint) -> None:
        """Wait until the kernel has its routes. Raises NotRouted with the reason why it has not."""
        ...


class NotRouted(Exception):
    """The kernel does not hold the endpoint's route; the message says what is in the way."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pod's network needs to know of its node. ``pool_by_name`` raises NoPool; ``new_mac`` makes one up;
    ``is_unlocked`` False: the store has to be asked.
    """

    node: str
    host_mtu_bytes: Callable[[], int]
    pool_by_name: Callable[[str], Network]
    owns_block: Callable[[Network], bool]
    is_unlocked: Callable[[], bool]
    new_mac: Callable[[], str]
    timestamp: Callable[[], str]


class Pods:
    def __init__(
        self,
        around: Surroundings,
        *,
        store: Store,
        addresses: Addresses,
        veths: Veths,
        flows: Flows,
        local: LocalEndpoints,
    ) -> None:
        self._around, self._store, self._addresses, self._local = around, store, addresses, local
        self._veths, self._flows = veths, flows
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def add(self, request: Request, netns: int) -> Interface:
        """Connect a container; one that is connected gets the same answer again. Raises CniError."""
        async with self._one_at_a_time(request.workload), _told_as_cni_errors():
            await self._check_unlocked()
            known = await self._predecessor(request.workload)
            if known is not None and await self._is_connected(known, request.workload, netns):
                await self._local.routed(known)
                return endpoints.interface_of(known, request, await self._assign(request))
            async with AsyncExitStack() as undo:
                made = await self._connect(request, netns, known, undo)
                undo.pop_all()
                return made

    async def delete(self, request: Request) -> None:
        """Disconnect a container; nothing to do is no error. Raises StoreError, Contention: do it again later."""
        workload = request.workload
        async with self._one_at_a_time(workload):
            if not self._around.is_unlocked() and (cluster := await self._cluster()) and not cluster.is_ready:
                raise Unavailable(_LOCKED)  # whoever locked it counts on addresses staying as they are
            known = await self._endpoint(workload)
            if known is None or known.container == workload.container:
                await self._disconnect(workload, known)
            await self._addresses.release(_handle(request))

    async def check(self, request: Request, netns: int) -> None:
        """Raises CniError that says what is not as ADD left it."""
        workload = request.workload
        async with self._one_at_a_time(workload), _told_as_cni_errors():
            known = await self._endpoint(workload)
            if known is None or known.container != workload.container:
                raise CniError(Code.UNKNOWN_CONTAINER, f"{workload} has no endpoint on {self._around.node}")
            problem = endpoints.difference(known, await self._veths.look(netns, workload.interface))
            if problem:
                raise CniError(Code.FAILED, f"{workload}: {problem}")
            await self._local.routed(known)

    async def collect(self, conf: NetConf) -> None:
        """GC: disconnect every container of this node that the runtime does not name. Raises CniError."""
        wanted = set(conf.valid_attachments)
        for endpoint in self._local.all():
            if (endpoint.container, endpoint.endpoint) not in wanted:
                async with _told_as_cni_errors():
                    await self.delete(Request(Command.DEL, conf, endpoints.workload_of(endpoint)))

    # --- the steps of ADD, each with its undo ------------------------------------------------------------------

    async def _connect(
        self, request: Request, netns: int, known: WorkloadEndpoint | None, undo: AsyncExitStack
    ) -> Interface:
        undo.push_async_callback(self._release_quietly, _handle(request))
        assigned = await self._assign(request)
        plan = self._plan(request, assigned)
        undo.push_async_callback(self._veths.remove, plan.host_device)
        document = endpoints.document_of(request, self._around.node, plan)
        with self._local.being_made(plan.host_device):
            endpoint, made, begun = await asyncio.gather(
                self._write_endpoint(request.workload, document, known),
                self._veths.make(netns, plan),
                self._begin_flows(assigned),
                return_exceptions=True,
            )
        if isinstance(endpoint, BaseException):
            raise endpoint
        undo.push_async_callback(self._forget, endpoint)
        for each in (made, begun):
            if isinstance(each, BaseException):
                raise each
        self._local.put(endpoint)
        await self._local.routed(endpoint)
        return endpoints.interface_of(endpoint, request, assigned)

    async def _assign(self, request: Request) -> list[Assigned]:
        """What the holder gets, or has already."""
        holder = endpoints.holder_of(request, self._around.node, self._around.timestamp())
        if request.address:
            async with _patience():
                return [await self._addresses.assign_address(ip_address(request.address), holder)]
        pools = request.conf.pools + tuple(map(self._around.pool_by_name, request.conf.pool_names))
        async with _patience():
            return [
                await self._addresses.assign(AddressRequest(holder, Wish(version, pools=_of_family(pools, version))))
                for version in _families(request.conf)
            ]

    def _plan(self, request: Request, assigned: Sequence[Assigned]) -> VethPlan:
        return VethPlan(
            host_device=endpoints.device_of(request.workload),
            pod_device=request.workload.interface,
            mac=self._around.new_mac(),
            mtu_bytes=mtu.of_pod(request.conf.mtu_bytes, self._around.host_mtu_bytes()),
            addresses=tuple(each.address for each in assigned),
            allow_forwarding=request.conf.allow_ip_forwarding,
        )

    async def _begin_flows(self, assigned: Sequence[Assigned]) -> None:
        for each in assigned:
            await self._flows.begin(each.address, each.block if self._around.owns_block(each.block) else None)

    async def _release_quietly(self, handle: str) -> None:
        """What cannot be given back now is given back by the runtime's DEL, which knows the handle too, or by whoever
        serves releases, once the store answers: the runtime is not kept waiting for that.
        """
        with suppress(StoreError, Contention, TimeoutError):
            async with asyncio.timeout(UNDO_PATIENCE_S):
                await self._addresses.release(handle)

    async def _write_endpoint(
        self, workload: Workload, wanted: Resource, known: WorkloadEndpoint | None
    ) -> WorkloadEndpoint:
        """Create it, or take the place of the one that an earlier container of the same pod left."""
        try:
            return await self._put_endpoint(wanted, known)
        except (Exists, Conflict, Missing):  # it was not as it was known
            return await self._put_endpoint(wanted, await self._endpoint(workload))

    async def _put_endpoint(self, wanted: Resource, known: WorkloadEndpoint | None) -> WorkloadEndpoint:
        async with _patience():
            if known is None:
                return decode(WorkloadEndpoint, await self._store.create(wanted))
            old = known.resource
            replacing = replace(wanted, revision=old.revision, uid=old.uid, annotations=old.annotations)
            return decode(WorkloadEndpoint, await self._store.update(replacing))

    async def _forget(self, endpoint: WorkloadEndpoint) -> None:
        self._local.gone(endpoint.resource.key)
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(UNDO_PATIENCE_S):
                await self._store.delete(endpoint.resource.key, uid=endpoint.resource.uid)

    # --- DEL, and looks at what is there -------------------------------------------------------------------------

    async def _disconnect(self, workload: Workload, known: WorkloadEndpoint | None) -> None:
        """The address is given back only after this: nobody may have it while packets for it still come here."""
        if known is not None:
            self._local.gone(known.resource.key)
        device = known.device if known is not None and known.device else endpoints.device_of(workload)
        await asyncio.gather(self._veths.remove(device), self._delete_endpoint(known))
        for network in known.networks if known is not None else ():
            self._flows.end(network.network_address)

    async def _delete_endpoint(self, known: WorkloadEndpoint | None) -> None:
        if known is not None:
            with suppress(Missing, Conflict):
                await self._store.delete(known.resource.key, uid=known.resource.uid)

    async def _predecessor(self, workload: Workload) -> WorkloadEndpoint | None:
        """What an earlier ADD left under this name: only of the same container it must be certain."""
        known = self._local.known(endpoints.key_of(workload, self._around.node))
        return await self._endpoint(workload) if known is not None and known.container == workload.container else known

    async def _endpoint(self, workload: Workload) -> WorkloadEndpoint | None:
        async with _patience():
            try:
                return decode(WorkloadEndpoint, await self._store.get(endpoints.key_of(workload, self._around.node)))
            except Missing:
                return None

    async def _cluster(self) -> ClusterInformation | None:
        async with _patience():
            try:
                return decode(ClusterInformation, await self._store.get(Key("ClusterInformation", "default")))
            except Missing:
                return None

    async def _check_unlocked(self) -> None:
        """The cluster-wide lock, and a datastore that nobody has set up, stop every ADD. Raises CniError."""
        if self._around.is_unlocked():
            return
        cluster = await self._cluster()
        if cluster is None:
            raise CniError(Code.FAILED, "error getting ClusterInformation: run calico-node -startup on some node first")
        if not cluster.is_ready:
            raise CniError(Code.FAILED, _LOCKED)

    async def _is_connected(self, known: WorkloadEndpoint, workload: Workload, netns: int) -> bool:
        if known.container != workload.container:
            return False
        return not endpoints.difference(known, await self._veths.look(netns, workload.interface))

    @asynccontextmanager
    async def _one_at_a_time(self, workload: Workload) -> AsyncIterator[None]:
        lock = self._locks.setdefault(endpoints.device_of(workload), asyncio.Lock())
        async with lock:
            yield


def _handle(request: Request) -> str:
    return names.pod_handle(request.conf.name, request.workload.container)


def _families(conf: NetConf) -> list[int]:
    return [version for version, wanted in ((4, conf.wants_ipv4), (6, conf.wants_ipv6)) if wanted]


def _of_family(pools: Sequence[Network], version: int) -> tuple[Network, ...]:
    return tuple(pool for pool in pools if pool.version == version)


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(STORE_PATIENCE_S):
            yield
    except TimeoutError:
        raise Unavailable(f"the datastore did not answer within {STORE_PATIENCE_S} s") from None


@asynccontextmanager
async def _told_as_cni_errors() -> AsyncIterator[None]:
    """Who caused it decides the code: the world gets "try again later", everything else upstream's 999."""
    try:
        yield
    except (Unavailable, Contention, Conflict, Exists) as error:
        raise CniError(Code.TRY_AGAIN_LATER, str(error)) from None
    except NoAddress as error:
        raise CniError(Code.FAILED, f"failed to request IPv{error.version} addresses: {error}") from None
    except AlreadyTaken as error:
        raise CniError(Code.FAILED, f"resource already exists: {error}") from None
    except (NoPool, VethError, NotRouted, StoreError) as error:
        raise CniError(Code.FAILED, str(error).strip()) from None
