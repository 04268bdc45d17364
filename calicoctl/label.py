"""``calicoctl label``: one label of one resource is set, changed or removed."""

from __future__ import annotations

from dataclasses import replace

from calicoctl import objects
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.selection import NothingSelected, Selection, placed, selected
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, NAMESPACE, Usage
from datastore.resource import Resource
from datastore.store import Store, StoreError

USAGE = Usage(
    "KIND NAME [key=value | key]",
    "Sets a label of one resource, changes its value (with --overwrite) or removes it (with --remove).",
    "# Set a label.\ncalicoctl label nodes node1 rack=a\n\n"
    "# Change its value.\ncalicoctl label nodes node1 rack=b --overwrite\n\n"
    "# Remove it.\ncalicoctl label nodes node1 rack --remove",
    (
        CONFIG,
        NAMESPACE,
        Flag("overwrite", "Change the value of a label that is there already.", takes=Takes.NOTHING),
        Flag("remove", "Remove the label of this key.", takes=Takes.NOTHING),
    ),
    least=3,
)


def run(terminal: Terminal) -> None:
    kind, name, label = terminal.words.plain[:3]
    key, value = _key_and_value(label, removes=terminal.words.has("remove"))
    selection = _selected(terminal, kind, name)

    async def work(store: Store) -> str:
        try:
            document = placed(selection.documents[0], terminal)
            resource = await objects.get(store, objects.key_of(document))
        except (StoreError, Failure):
            raise Failure(f"{kind} {name} not found") from None
        return await _label(terminal, store, resource, key, value)

    terminal.say(terminal.with_store(work))


def _key_and_value(label: str, *, removes: bool) -> tuple[str, str]:
    if removes:
        return label, ""
    key, equals, value = label.partition("=")
    if not equals:
        raise Failure(f"invalid label {label}")
    return key, value


def _selected(terminal: Terminal, kind: str, name: str) -> Selection:
    words = terminal.words._replace(plain=[kind, name])
    try:
        return selected(terminal._replace(words=words))
    except NothingSelected as error:
        raise Failure(f"failed to get {kind} {name}, error {error}") from None


async def _label(terminal: Terminal, store: Store, resource: Resource, key: str, value: str) -> str:
    """What was done."""
    called = " ".join(terminal.words.plain[:2])
    is_there = key in resource.labels
    if terminal.words.has("remove"):
        if not is_there:
            raise Failure(f"cannot remove label of {called}, key {key} does not exist")
        labels = {other: text for other, text in resource.labels.items() if other != key}
        done = f"Successfully removed label {key} from {called}"
    else:
        if is_there and resource.labels[key] != value and not terminal.words.has("overwrite"):
            why = "is already present. please use '--overwrite' to set a new value"
            raise Failure(f"failed to update label of {called}, key {key} {why}")
        labels = {**resource.labels, key: value}
        done = f"Successfully {'updated' if is_there else 'set'} label {key} on {called}"
    try:
        await objects.write(store, objects.document_of(replace(resource, labels=labels)), resource)
    except (StoreError, Failure):
        raise Failure(f"failed to update {called}, label not changed") from None
    return done
