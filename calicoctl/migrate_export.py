"""``calicoctl datastore migrate export``: all that the datastore holds, as text for ``import``.

Nothing is printed before everything was read. Upstream exports from etcd alone, and only where Kubernetes runs every
node; here any datastore can be left, and a node that Kubernetes does not know keeps its name, with a warning.
Source: Calico calicoctl/commands/datastore/migrate/export.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from calicoctl import json_out, lock, migration
from calicoctl.failure import Failure
from calicoctl.objects import Objects, document_of, list_of
from calicoctl.printing import Results, printer_for
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.connect import type_of
from datastore.policies import is_of_kubernetes
from datastore.resource import Key, Resource
from datastore.store import Store, StoreError

USAGE = Usage(
    "",
    "Prints all that the datastore holds, addresses included, for import into another datastore. It must be locked.",
    "calicoctl datastore migrate lock\ncalicoctl datastore migrate export > datastore.txt",
    (CONFIG,),
)


class Contents(NamedTuple):
    cluster: Resource
    lists: list[Objects]
    addresses: list[Resource]
    without_kubernetes: list[str]
    """Nodes that say nothing of a name in Kubernetes."""


def run(terminal: Terminal) -> None:
    is_kubernetes = type_of(terminal.datastore()) == "kubernetes"
    contents = terminal.with_store(lambda store: _contents(store, is_kubernetes=is_kubernetes))
    for name in contents.without_kubernetes:
        terminal.write_error(
            f"[WARNING] node {name} is missing a 'k8s' orchestrator reference and keeps its name. Kubernetes takes it"
            " only if it has a node of that name.\n"
        )
    for text in _texts(contents):
        terminal.write(text)


async def _contents(store: Store, *, is_kubernetes: bool) -> Contents:
    await _demand_lock(store)
    cluster = await store.get(Key("ClusterInformation", "default"))
    nodes = (await store.list("Node")).items
    named = {node.name: node.name if is_kubernetes else migration.name_in_kubernetes(node) for node in nodes}
    renamed = {old: new for old, new in named.items() if new}
    lists = [_moved(each, renamed) for each in await _lists(store)]
    records = [record for kind in migration.IPAM_KINDS for record in (await store.list(kind)).items]
    addresses = [migration.moved(record, renamed) for record in records]
    return Contents(cluster, lists, addresses, [name for name, new in named.items() if not new])


async def _demand_lock(store: Store) -> None:
    try:
        is_locked = await lock.is_locked(store)
    except StoreError as error:
        why = f"error retrieving ClusterInformation: {error}"
        raise Failure(f"error while checking if datastore was locked: {why}") from None
    if not is_locked:
        how = "Run the `calicoctl datastore migrate lock` command in order to begin migration"
        raise Failure(f"datastore is not locked. {how}")


async def _lists(store: Store) -> list[Objects]:
    lists = [await list_of(store, kind) for kind in migration.EXPORTED]
    others = [await list_of(store, kind) for kind in migration.NOT_OF_KUBERNETES]
    foreign = [
        each._replace(items=tuple(item for item in each.items if not migration.is_of_kubernetes(item)))
        for each in others
    ]
    return lists + [each for each in foreign if each.items]


def _moved(found: Objects, renamed: migration.Names) -> Objects:
    """Kubernetes' own policies are there, or are not, whatever is imported."""
    kept = (item for item in found.items if not is_of_kubernetes(item.key))
    return found._replace(items=tuple(migration.moved(item, renamed) for item in kept))


def _texts(contents: Contents) -> Iterator[str]:
    as_yaml = printer_for("yaml", with_namespace=False)
    for found in contents.lists:
        yield from as_yaml(Results([found]))
        yield "---\n"
    yield migration.SEPARATOR
    yield f"{json_out.text(document_of(contents.cluster))}\n"
    yield migration.SEPARATOR
    yield f"{json_out.text(migration.ipam_document(contents.addresses))}\n"
