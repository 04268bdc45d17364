"""Leases in Kubernetes: a Node's podCIDR is its subnet, annotations tell the rest (:mod:`flannel.node_lease`).

- net-conf.json is a file, mounted from a ConfigMap; it is read at the start.
- Annotations go through the Node's status, which is all that flannel's account may write. A Node that lost them, or was
  made anew under its name, gets them again.
- A Node that is deleted gives up its lease. Ours is not given up for that: its pods may still be there.

Source: flannel pkg/subnet/kube.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random

from datastore.kubernetes.client import Client
from datastore.kubernetes.trouble import Asked, of_event
from datastore.resource import Key
from datastore.store import Compacted, Missing, StoreError, Unavailable
from flannel import netconf, node_lease
from flannel.go_json import BadDocument
from flannel.lease import Attributes, Lease, Subnets
from flannel.lease_table import Entry, Known, LeaseTable
from flannel.netconf import NetConf
from flannel.node_lease import Json, Names
from flannel.source import Counters, NoLease

NODES = "/api/v1/nodes"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_PATCH_PATIENCE_S, _PATCH_PAUSE_S = 30.0, 3.0
REMEDY = "kube-controller-manager --allocate-node-cidrs=true --cluster-cidr={}"

log = logging.getLogger("flannel")


class KubeLeases:
    """``node`` is this node's name. ``tells_network``: whether the Node's condition NetworkUnavailable is ours."""

    def __init__(
        self,
        client: Client,
        node: str,
        config_path: Path,
        names: Names,
        *,
        tells_network: bool = True,
        random: Random | None = None,
    ) -> None:
        self._client = client
        self._node = node
        self._config_path = config_path
        self._names = names
        self._tells_network = tells_network
        self._random = random or Random()
        self._table = LeaseTable(log.warning)
        self._config: NetConf | None = None
        self._written: Mapping[str, str] = {}
        self._told_trouble = ""
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """Nothing is renewed here."""
        return replace(self._counters, bad=self._table.bad)

    async def config(self) -> NetConf:
        try:
            text = self._config_path.read_text()
        except OSError as error:
            raise BadDocument(str(self._config_path), f"failed to read net conf: {error.strerror}") from None
        try:
            self._config = netconf.read(text)
        except BadDocument as error:
            raise BadDocument(str(self._config_path), f"error parsing subnet config: {error}") from None
        return self._config

    # --- the own node ---------------------------------------------------------------------------------------------

    async def asked_addresses(self) -> tuple[IPv4Address | None, IPv6Address | None]:
        return node_lease.asked_addresses(await self._read(), self._names)

    async def held(self, attributes: Attributes) -> Attributes | None:
        try:
            return node_lease.read(await self._read(), self._names)
        except BadDocument:
            return None

    def is_own(self, lease: Lease, attributes: Attributes) -> bool:
        return lease.node == self._node

    async def acquire(self, attributes: Attributes) -> Lease:
        node = await self._read()
        told = node_lease.overwritten(attributes, node, self._names)
        subnets = self._subnets(node)
        await self._write(node, told)
        return Lease(subnets, told, self._node)

    def _subnets(self, node: Json) -> Subnets:
        """Raises NoLease, BadDocument."""
        config, found = self._config, node_lease.pod_cidrs(node)
        assert config is not None, "the configuration is read before a lease is taken"
        pairs = ((config.has_ipv4, config.network, found.v4), (config.has_ipv6, config.network_v6, found.v6))
        for is_on, network, subnet in pairs:
            if is_on and subnet is None:
                todo = REMEDY.format(network or "10.244.0.0/16")
                raise NoLease(f"node {self._node!r} pod cidr not assigned: start {todo}")
            if is_on and (network is None or not _contains(network, subnet)):
                raise NoLease(self._outside(network, subnet))
        return Subnets(found.v4 if config.has_ipv4 else None, found.v6 if config.has_ipv6 else None)

    def _outside(self, network: object, subnet: object) -> str:
        what = f'subnet "{network}" specified in the flannel net config doesn\'t contain "{subnet}" PodCIDR'
        todo = f"make Network in {self._config_path} and --cluster-cidr of kube-controller-manager the same"
        return f'{what} of the "{self._node}" node: {todo}'

    async def _write(self, node: Json, attributes: Attributes) -> None:
        """Raises NoLease when the server does not take it for half a minute."""
        self._written = node_lease.write(attributes, self._names)
        deadline = asyncio.get_running_loop().time() + _PATCH_PATIENCE_S
        while True:
            try:
                return await self._restore(node)
            except Unavailable as error:
                if asyncio.get_running_loop().time() > deadline:
                    why = f"timeout contacting kube-api, failed to patch node {self._node!r}. Error: {error}"
                    raise NoLease(why) from None
                log.error("Failed to patch node %r: %s", self._node, error)
                await asyncio.sleep(_PATCH_PAUSE_S)

    async def _restore(self, node: Json) -> None:
        """What we wrote and the Node no longer says."""
        said = node_lease.said_by(node)
        missing = {field: text for field, text in self._written.items() if said.get(field) != text}
        if missing:
            await self._patch_status({"metadata": {"annotations": missing}})

    async def running(self) -> None:
        if not self._tells_network:
            return
        log.info("Setting NodeNetworkUnavailable")
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {
            "type": "NetworkUnavailable",
            "status": "False",
            "reason": "FlannelIsUp",
            "message": "Flannel is running on this node",
            "lastTransitionTime": now,
            "lastHeartbeatTime": now,
        }
        try:
            await self._patch_status({"status": {"conditions": [condition]}})
        except StoreError as error:
            log.error("Unable to set NodeNetworkUnavailable to False for %r: %s", self._node, error)

    async def keep(self) -> None:
        """A Node has its podCIDR for life."""
        await asyncio.Event().wait()

    async def _read(self) -> Json:
        """By a list of one: the account of older manifests may list and watch nodes, and not get one."""
        query = {"fieldSelector": f"metadata.name={self._node}"}
        listed = await self._client.ask("GET", NODES, self._asked("list", "nodes"), query=query)
        if not listed["items"]:
            raise Missing(Key("Node", self._node))
        node: Json = listed["items"][0]
        return node

    async def _patch_status(self, body: Json) -> None:
        path = f"{NODES}/{self._node}/status"
        await self._client.ask("PATCH", path, self._asked("patch", "nodes/status"), body=body, is_strategic=True)

    # --- all nodes ------------------------------------------------------------------------------------------------

    async def follow(self, tell: Callable[[Known], None]) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                since = await self._load(tell)
                pause_s, self._told_trouble = _FIRST_PAUSE_S, ""
                while True:
                    since = await self._listen(since, tell)
            except Compacted:
                continue
            except StoreError as error:
                self._counters = replace(self._counters, watch_failures=self._counters.watch_failures + 1)
                self._note_trouble(f"Watch of nodes failed: {error}; routes stay as they are")
                await asyncio.sleep(pause_s * self._random.uniform(0.8, 1.2))
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    async def _load(self, tell: Callable[[Known], None]) -> str:
        listed = await self._client.ask("GET", NODES, self._asked("list", "nodes"))
        self._counters = replace(self._counters, lists=self._counters.lists + 1)
        self._table.load(entry for node in listed["items"] if (entry := self._entry(node)) is not None)
        tell(self._table.known())
        for node in listed["items"]:
            await self._look_after(node)
        return str(listed["metadata"]["resourceVersion"])

    async def _listen(self, since: str, tell: Callable[[Known], None]) -> str:
        """Until the server ends the watch. From where to go on."""
        asked = Asked("watch", "nodes", Key("Node", ""), since)
        query = {"watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true"}
        async with self._client.watch(NODES, asked, query=query) as stream:
            while (events := await stream.read()) is not None:
                before = self._table.known()
                for event in events:
                    since = self._take(event, asked)
                if (known := self._table.known()) != before:
                    tell(known)
                for event in events:
                    if event["type"] != "DELETED":
                        await self._look_after(event["object"])
        return since

    def _take(self, event: Json, asked: Asked) -> str:
        """The revision that we are at."""
        node = event["object"]
        if event["type"] == "ERROR":
            raise of_event(node, asked)
        if event["type"] == "DELETED":
            self._table.drop(node_lease.name(node))
        elif event["type"] != "BOOKMARK":
            entry = self._entry(node)
            if entry is not None:
                self._table.put(entry)
        return str(node["metadata"]["resourceVersion"])

    def _entry(self, node: Json) -> Entry | None:
        """None of a node that no daemon of ours is on, which may be for a moment only: what it had stays."""
        if node_lease.said_by(node).get(self._names["kube-subnet-manager"]) != "true":
            return None
        try:
            subnets = node_lease.pod_cidrs(node)
        except BadDocument:
            subnets = Subnets()
        return Entry(node_lease.name(node), subnets, lambda: self._lease(node))

    def _lease(self, node: Json) -> Lease:
        found = node_lease.read_lease(node, self._names)
        if found is None:
            raise BadDocument("spec.podCIDR", "pod cidr not assigned")
        return found

    async def _look_after(self, node: Json) -> None:
        if node_lease.name(node) == self._node and self._written:
            await self._restore(node)

    def _note_trouble(self, text: str) -> None:
        if text != self._told_trouble:
            self._told_trouble = text
            log.error(text)

    def _asked(self, verb: str, resource: str) -> Asked:
        return Asked(verb, resource, Key("Node", self._node))

    async def close(self) -> None:
        await self._client.close()


def _contains(network: object, subnet: object) -> bool:
    return subnet.subnet_of(network)  # type: ignore[attr-defined, no-any-return]  # both of one family
