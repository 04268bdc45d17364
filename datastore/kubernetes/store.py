"""The Store over the Kubernetes API: every operation as the fewest requests that keep its promise.

A kind is a custom resource, or a view: Nodes are Kubernetes' own, WorkloadEndpoints are Pods, Profiles are Namespaces
and ServiceAccounts. Views are not created or deleted here; what Calico adds to them is patched in. Kubernetes' own
NetworkPolicies are read beside Calico's; a watch tells of Calico's alone.

Compare-and-swap is the server's: a replaced or deleted object must have the revision and uid that were seen.

A watch is taken up again here when the server ends it after its time, which is no event for anybody. The server
accepts a watch before it looks whether it still has the changes, so a watch stands only after a moment's silence.
"""

from __future__ import annotations

import asyncio
import builtins
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from datastore.events import Event
from datastore.kubernetes import nodes, objects, pods, policies, profiles
from datastore.kubernetes.client import Client, Json
from datastore.kubernetes.events import announce
from datastore.kubernetes.groups import VIEWS, WITH_STATUS, Group, choose
from datastore.kubernetes.pulse import Pulse
from datastore.kubernetes.tell import Teller
from datastore.kubernetes.trouble import Asked, no_definition
from datastore.kubernetes.views import OWN_POLICIES, UNREADABLE, View, view_of
from datastore.policies import is_of_kubernetes, refuse_kubernetes_own
from datastore.resource import Key, Resource, node_of
from datastore.store import (
    Change,
    Compacted,
    Conflict,
    Create,
    Delete,
    Listing,
    Mark,
    Missing,
    NotSupported,
    Rejected,
    StoreError,
    Unavailable,
    Unread,
    Update,
    Write,
)

T = TypeVar("T")

PAGE = 500
AT_ONCE = 20
SETTLING_S = 0.2
_SHORTEST_WATCH_S = 1.0
_TRIES = 10


class KubernetesStore:
    """One client of an API server.

    Args:
        group: CALICO_API_GROUP, or "" to use what the server has.
        use_pod_cidr: addresses are host-local's (USE_POD_CIDR).
        pulse: by which watches that stand and hear nothing are noticed.
    """

    def __init__(
        self, client: Client, *, group: str = "", use_pod_cidr: bool = False, pulse: Pulse | None = None
    ) -> None:
        self._pulse = pulse
        self._client = client
        self._named_group = group
        self._use_pod_cidr = use_pod_cidr
        self._group: Group | None = None

    @property
    def client(self) -> Client:
        return self._client

    @property
    def views(self) -> Collection[str]:
        return VIEWS

    @property
    def requests(self) -> Counter[str]:
        """How often the server was asked, by verb."""
        return self._client.requests

    async def get(self, key: Key) -> Resource:
        if key.kind == "Profile":
            return await self._profile(key)
        view = OWN_POLICIES if is_of_kubernetes(key) else await self._view(key.kind)
        asked = Asked("get", view.resource, key)
        found = await self._client.ask("GET", view.path_of(key), asked)
        resource = _read(view, found)
        if isinstance(resource, Unread):
            raise resource.why
        if resource is None or resource.key != key:
            raise Missing(key)
        if objects.is_deleted(found):
            await self._finish_deletion(view, resource)
            raise Missing(key, "Resource was deleted")
        return resource

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        if kind == "Profile":
            return await self._profiles()
        view = await self._view(kind)
        read, revision = await self._all(view, namespace, node)
        if kind == "NetworkPolicy":
            read += (await self._all(OWN_POLICIES, namespace, node))[0]
        items = [each for each in read if isinstance(each, Resource) and node in ("", node_of(each))]
        unread = {each.key: each.why for each in read if isinstance(each, Unread)}
        return Listing(tuple(sorted(items, key=lambda item: (item.namespace, item.name))), revision, unread)

    async def create(self, resource: Resource) -> Resource:
        if resource.kind == "WorkloadEndpoint":
            return await self._patch_pod(replace(resource, uid=""))
        if resource.kind in VIEWS:
            raise NotSupported("Create", resource.key)
        refuse_kubernetes_own(resource.key, "Create")
        view = await self._view(resource.kind)
        fresh = resource.stamped(revision="", uid="", created="")
        if view.group is Group.V1 and resource.kind not in objects.IPAM:
            fresh = replace(fresh, created=_now())
        return await self._with_status(view, resource, await self._send(view, fresh))

    async def update(self, resource: Resource) -> Resource:
        if resource.kind == "Profile":
            raise NotSupported("Update", resource.key)
        refuse_kubernetes_own(resource.key, "Update")
        if resource.kind == "WorkloadEndpoint":
            return await self._patch_pod(resource)
        if not resource.revision or (not resource.created and resource.kind != "Node"):
            resource = await self._completed(resource)
        view = await self._view(resource.kind)
        if resource.kind == "Node":
            return await self._patch_node(view, resource)
        return await self._with_status(view, resource, await self._send(view, resource))

    async def judge(self, resource: Resource) -> None:
        view = await self._view(resource.kind)
        await self._send(view, resource, _DRY_RUN)

    async def delete(self, key: Key, *, revision: str = "", uid: str = "") -> Resource:
        if key.kind == "WorkloadEndpoint":
            return await self._patch_pod_out(key, revision, uid)
        if key.kind == "Node":
            await self.get(key)
        if key.kind in VIEWS:
            raise NotSupported("Delete", key)
        refuse_kubernetes_own(key, "Delete")
        view = await self._view(key.kind)
        for _ in range(_TRIES):
            found = await self.get(key)
            if revision not in ("", found.revision) or uid not in ("", found.uid):
                raise Conflict(key)
            try:
                await self._remove(view, found)
            except Conflict:
                continue  # somebody wrote since; whether that matters is seen on reading it again
            return found
        raise Conflict(key)

    async def write_many(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        """Those of one kind at once. After one that the server did not answer, the rest is not tried."""
        results: builtins.list[Resource | StoreError] = []
        lost: Unavailable | None = None
        for run in _runs(writes):
            if lost is not None:
                results += [lost] * len(run)
                continue
            results += await asyncio.gather(*map(self._result_of, run))
            lost = next((result for result in results if isinstance(result, Unavailable)), None)
        if lost is not None and all(isinstance(result, Unavailable) for result in results):
            raise lost
        return results

    async def watch(self, kind: str, *, since: str, node: str = "") -> AsyncGenerator[Change, None]:
        if kind == "Profile":
            raise NotSupported("Watch", Key(kind, ""))
        if not since.isdigit():
            raise Compacted(kind, since)
        view = await self._view(kind)
        if self._pulse is not None:
            self._pulse.begin()
        teller = Teller(partial(_read, view), kind, since, node)
        clock = asyncio.get_running_loop().time
        while True:
            begun = clock()
            asked = Asked("watch", view.resource, Key(kind, ""), teller.since)
            query = {"watch": "1", "resourceVersion": teller.since, "allowWatchBookmarks": "true"}
            query |= view.selector(node)
            async with self._client.watch(view.path(), asked, query=query) as stream:
                events = await stream.read(patience_s=SETTLING_S)
                if events == []:
                    yield Mark(teller.since)
                    events = await stream.read()
                while events is not None:
                    for event in events:
                        for change in teller.changes(event, asked):
                            yield change
                    events = await stream.read()
            if clock() - begun < _SHORTEST_WATCH_S:
                raise Unavailable(f"the API server ends watches of {view.resource} at once")

    async def count_policies(self) -> Mapping[str, int]:
        return await policies.count(self._client, await self._its_group())

    async def announce(self, event: Event, *, reporter: str, host: str) -> None:
        await announce(self._client, event, reporter=reporter, host=host, now=_now())

    async def close(self) -> None:
        if self._pulse is not None:
            await self._pulse.end()
        await self._client.close()

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _view(self, kind: str) -> View:
        return view_of(await self._its_group(), kind, use_pod_cidr=self._use_pod_cidr)

    async def _its_group(self) -> Group:
        """Raises Unavailable where the server has neither, Rejected where the user names none of the two."""
        if self._group is not None:
            return self._group
        try:
            served = {} if self._named_group else await self._client.ask("GET", "/apis", _DISCOVERY)
            self._group = choose(self._named_group, served)
        except ValueError:
            named = " or ".join(group.value for group in Group)
            raise Rejected("CALICO_API_GROUP", f"must be {named}, not {self._named_group}") from None
        if self._group is None:
            raise no_definition(f"of {' or '.join(group.value for group in Group)}")
        return self._group

    async def _all(self, view: View, namespace: str, node: str) -> tuple[builtins.list[Resource | Unread], str]:
        """What stands: not what is being deleted."""

        def standing(found: Json) -> Resource | Unread | None:
            return None if objects.is_deleted(found) else _read(view, found)

        asked = Asked("list", view.resource, Key(view.kind, ""))
        found, revision = await self._pages(view.path(namespace), asked, view.selector(node), standing)
        return [each for each in found if each is not None], revision

    async def _pages(
        self, path: str, asked: Asked, selector: Mapping[str, str], read: Callable[[Json], T]
    ) -> tuple[Sequence[T], str]:
        """All of a list and its revision. What expires between two pages is asked for again, whole.

        Each page is read as it comes: a pod as the server has it takes ten times the place of what is kept of it.
        """
        items: builtins.list[T] = []
        query = {**selector, "limit": str(PAGE)}
        while True:
            try:
                page = await self._client.ask("GET", path, asked, query=query)
            except Compacted:
                items, query = [], {**selector}
                continue
            items += map(read, page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items, str(page["metadata"]["resourceVersion"])
            query["continue"] = token

    async def _profile(self, key: Key) -> Resource:
        if key.name == profiles.DEFAULT_ALLOW.name:
            return profiles.DEFAULT_ALLOW
        path, kind = profiles.paths_of(key.name)
        if not path:
            raise Rejected("", f"Invalid name {key.name}")
        resource, read = _PROFILES[kind]
        return read(await self._client.ask("GET", path, Asked("get", resource, key)))

    async def _profiles(self) -> Listing:
        """In upstream's order: what is always there, of namespaces, of accounts."""
        items, revisions = [profiles.DEFAULT_ALLOW], []
        for resource, read in _PROFILES.values():
            asked = Asked("list", resource, Key("Profile", ""))
            found, revision = await self._pages(f"/api/v1/{resource}", asked, {}, read)
            items += sorted(found, key=lambda item: item.name)
            revisions.append(revision)
        return Listing(tuple(items), "/".join(revisions))

    # --- writing ----------------------------------------------------------------------------------------------------

    async def _write(self, write: Write) -> Resource:
        match write:
            case Create(resource):
                return await self.create(resource)
            case Update(resource):
                return await self.update(resource)
            case Delete(key, revision, uid):
                return await self.delete(key, revision=revision, uid=uid)

    async def _result_of(self, write: Write) -> Resource | StoreError:
        try:
            return await self._write(write)
        except StoreError as error:
            return error

    async def _send(self, view: View, resource: Resource, query: Mapping[str, str] | None = None) -> Json:
        """Replace what has the resource's revision; without one, create it."""
        verb, method, path = "update", "PUT", view.path_of(resource.key)
        if not resource.revision:
            verb, method, path = "create", "POST", view.path(resource.namespace)
        asked = Asked(verb, view.resource, resource.key)
        return await self._client.ask(method, path, asked, query=query, body=objects.to_object(view.group, resource))

    async def _completed(self, resource: Resource) -> Resource:
        """With the creation time that it has. Raises Missing; Conflict where it names no revision."""
        stored = await self.get(resource.key)
        if not resource.revision:
            raise Conflict(resource.key)
        return replace(resource, created=stored.created)

    async def _with_status(self, view: View, wanted: Resource, made: Json) -> Resource:
        """The status of some kinds is written apart, and only where it says something new."""
        if wanted.kind in WITH_STATUS and _says_something(wanted.status) and wanted.status != made.get("status"):
            asked = Asked("update", f"{view.resource}/status", wanted.key)
            body = {**made, "status": wanted.status}
            made = await self._client.ask("PUT", f"{view.path_of(wanted.key)}/status", asked, body=body)
        return objects.from_object(view.group, wanted.kind, made)

    async def _finish_deletion(self, view: View, marked: Resource) -> None:
        try:
            await self._remove(view, marked)
        except (Conflict, Missing):
            return

    async def _remove(self, view: View, seen: Resource) -> None:
        """Delete exactly what was seen. Raises Missing, Conflict."""
        preconditions = {"uid": objects.stored_uid(view.group, seen.uid), "resourceVersion": seen.revision}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        asked = Asked("delete", view.resource, seen.key)
        await self._client.ask("DELETE", view.path_of(seen.key), asked, body=body)

    async def _patch_node(self, view: View, resource: Resource) -> Resource:
        asked = Asked("patch", "nodes/status", resource.key)
        made = await self._client.ask(
            "PATCH", f"{view.path_of(resource.key)}/status", asked, body=nodes.patch_of(resource)
        )
        return nodes.from_node(made, use_pod_cidr=self._use_pod_cidr)

    async def _patch_pod(self, resource: Resource) -> Resource:
        """What the pod says of the endpoint afterwards, and what it cannot say as it was written."""
        found = await self._patch_pod_status(resource.key, pods.patch_in(resource))
        return replace(found, spec={**found.spec, **resource.spec})

    async def _patch_pod_out(self, key: Key, revision: str, uid: str) -> Resource:
        return await self._patch_pod_status(key, pods.patch_out(revision=revision, uid=uid))

    async def _patch_pod_status(self, key: Key, body: Json) -> Resource:
        view = await self._view("WorkloadEndpoint")
        asked = Asked("patch", "pods/status", key)
        made = await self._client.ask("PATCH", f"{view.path_of(key)}/status", asked, body=body)
        found = _read(view, made)
        if isinstance(found, Unread):
            raise found.why
        if found is None:
            raise Missing(key, "the pod is not on a node, or in its node's own network")
        return found


_DRY_RUN = {"dryRun": "All"}
_DISCOVERY = Asked("get", "apigroups", Key("", ""))
_PROFILES: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Resource]]] = {
    "Namespace": ("namespaces", profiles.from_namespace),
    "ServiceAccount": ("serviceaccounts", profiles.from_account),
}


def _runs(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """Writes that need not wait for each other: of one kind, each of another object, no more than AT_ONCE."""
    run: dict[Key, Write] = {}
    for write in writes:
        key = write.key if isinstance(write, Delete) else write.resource.key
        if key in run or len(run) == AT_ONCE or any(other.kind != key.kind for other in run):
            yield list(run.values())
            run = {}
        run[key] = write
    if run:
        yield list(run.values())


def _says_something(status: Any) -> bool:
    """What is nothing but zeros and empty texts is what Go makes of no status."""
    if isinstance(status, Mapping):
        return any(map(_says_something, status.values()))
    return bool(status)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _read(view: View, found: Mapping[str, Any]) -> Resource | Unread | None:
    """None for what is no object of that kind."""
    try:
        return view.read(found)
    except UNREADABLE as error:
        key = view.key_of(found)
        why = Rejected(str(key), f"cannot be read: {type(error).__name__}: {error}")
        return Unread(key, why, str((found.get("metadata") or {}).get("resourceVersion") or ""))
