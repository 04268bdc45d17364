"""``calicoctl datastore migrate import``: a new datastore is filled with what another held.

The whole file is read, and the datastore found to be empty and locked, before anything of the file is written.
Upstream imports into Kubernetes alone, and installs the definitions itself; here any datastore will do, and one without
them says which command installs them. What Kubernetes has of its own (nodes, pods) is not made there but completed, and
a node that it does not know is left out with a warning. A cluster without a single address is no error here.

Source: Calico calicoctl/commands/datastore/migrate/import.go.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from calicoctl import lock, migration, objects
from calicoctl.deletion import PROTECTED_TIERS
from calicoctl.documents import BadFile, documents_in, text_of
from calicoctl.failure import Failure
from calicoctl.flags import Flag
from calicoctl.objects import Document
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.connect import type_of
from datastore.initial import initialise
from datastore.policies import is_of_kubernetes
from datastore.resource import Key, Resource
from datastore.store import Conflict, Create, Missing, Store, StoreError

USAGE = Usage(
    "-f FILE",
    "Fills a datastore that holds nothing of Calico's with what export printed, and leaves it locked.",
    "calicoctl datastore migrate import -f datastore.txt\ncalicoctl datastore migrate unlock",
    (CONFIG, Flag("filename", "File that export wrote, or - for standard input.", "f")),
)

_TRIES = 5
_UNWANTED = {
    "kubernetes": "Clear out all Calico resources by deleting all Calico CRDs",
    "": "Import into a datastore that holds none",
}


class Contents(NamedTuple):
    documents: Sequence[Document]
    cluster: Document
    addresses: Sequence[Resource]


def run(terminal: Terminal) -> None:
    contents = _read(terminal)
    is_kubernetes = type_of(terminal.datastore()) == "kubernetes"
    terminal.with_store(lambda store: _fill(terminal, store, contents, is_kubernetes=is_kubernetes))
    terminal.say(
        "Datastore information successfully imported. Please refer to the datastore migration documentation for next"
        " steps."
    )


def _read(terminal: Terminal) -> Contents:
    path = terminal.words.text("filename")
    try:
        archive = migration.archive_of(text_of(path, terminal.read_input), path)
        documents = documents_in(archive.resources)
    except BadFile as error:
        raise Failure(f"error while reading migration file: {error}") from None
    cluster = _json(archive.cluster, "failed to update cluster information: error reading exported cluster info")
    addresses = _json(archive.addresses, "failed to read IPAM resources")
    return Contents(documents, cluster, list(migration.ipam_records(addresses)))


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(f"{what}: {error}") from None


async def _fill(terminal: Terminal, store: Store, contents: Contents, *, is_kubernetes: bool) -> None:
    if found := await _first_found(store, is_kubernetes=is_kubernetes):
        advice = _UNWANTED["kubernetes" if is_kubernetes else ""]
        raise Failure(f"datastore already has Calico resources: found existing {found}. {advice}")
    await _lock(terminal, store)
    await _apply(terminal, store, contents.documents, is_kubernetes=is_kubernetes)
    await _identify(store, contents.cluster)
    terminal.say("Importing IPAM resources")
    await _write_addresses(terminal, store, contents.addresses)


# --- before -------------------------------------------------------------------------------------------------------


async def _first_found(store: Store, *, is_kubernetes: bool) -> str:
    """What the datastore holds already, "" for nothing."""
    for kind in (*migration.EXPORTED, "ClusterInformation"):
        if kind == "Node" and is_kubernetes:
            continue
        if any(not _may_be_there(item) for item in (await store.list(kind)).items):
            return f"Calico {kind} resource"
    for kind in migration.IPAM_KINDS:
        if (await store.list(kind)).items:
            return "IPAM resources"
    return ""


def _may_be_there(item: Resource) -> bool:
    return is_of_kubernetes(item.key) or (item.kind == "Tier" and item.name in PROTECTED_TIERS)


async def _lock(terminal: Terminal, store: Store) -> None:
    try:
        await initialise(store, new_guid=lambda: os.urandom(16).hex())
    except StoreError as error:
        why = "unable to initialize cluster information for the datastore migration"
        raise Failure(f"{why}: {error}") from None
    try:
        await lock.lock(store)
    except StoreError as error:
        raise Failure(f"error while attempting to lock the datastore for import: {error}") from None
    terminal.say("Datastore locked.")


# --- resources ----------------------------------------------------------------------------------------------------


async def _apply(terminal: Terminal, store: Store, documents: Sequence[Document], *, is_kubernetes: bool) -> None:
    errors: list[StoreError | Failure] = []
    handled = 0
    for document in documents:
        if is_kubernetes and document["kind"] in migration.NOT_OF_KUBERNETES:
            terminal.say(f"[WARNING] {objects.key_of(document)} is not Kubernetes' own and is left out.")
            continue
        try:
            await objects.apply(store, document)
            handled += 1
        except Missing as error:
            if error.key.kind != "Node":
                errors.append(error)
            else:
                terminal.say(_node_is_missing(error.key))
        except (StoreError, Failure) as error:
            errors.append(error)
    if errors:
        raise Failure(f"failed to import v3 resources: failed to import v3 resources: hit error(s): {_all(errors)}")
    terminal.say(f"Successfully applied {handled} resource(s)")


def _node_is_missing(key: Key) -> str:
    return (
        f"[WARNING] Attempted to import node {key} from etcd that references a nonexistent Kubernetes node. Skipping"
        " that node. Non-Kubernetes nodes are not supported in the Kubernetes datastore and will be skipped."
    )


async def _identify(store: Store, cluster: Document) -> None:
    """It is the same cluster still."""
    said = cluster.get("spec") or {}
    known = {name: said[name] for name in ("clusterGUID", "calicoVersion") if said.get(name)}
    for _ in range(_TRIES):
        found = await store.get(Key("ClusterInformation", "default"))
        try:
            await store.update(replace(found, spec={**found.spec, **known}))
            return
        except Conflict:
            continue
        except StoreError as error:
            why = f"error updating current cluster info for migration: {error}"
            raise Failure(f"failed to update cluster information: {why}") from None
    raise Conflict(Key("ClusterInformation", "default"))


# --- addresses ----------------------------------------------------------------------------------------------------


async def _write_addresses(terminal: Terminal, store: Store, addresses: Sequence[Resource]) -> None:
    """A record that was refused stops no other, and each is told."""
    results = await store.write_many([Create(each) for each in addresses])
    errors = [
        f"error trying to create {each.key}: {result}"
        for each, result in zip(addresses, results, strict=True)
        if isinstance(result, StoreError)
    ]
    written = len(addresses) - len(errors)
    if not errors:
        terminal.say(f"Successfully applied {written} IPAM resource(s)")
        return
    if not written:
        raise Failure(f"failed to import any IPAM resources: {_all(errors)}")
    terminal.say(f"Partial success: applied the first {written} out of {len(addresses)} resources:")
    raise Failure(f"hit error(s): {_all(errors)}")


def _all(errors: Iterable[object]) -> str:
    return f"[{' '.join(map(str, errors))}]"
