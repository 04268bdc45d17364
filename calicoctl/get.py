"""``calicoctl get``: objects as tables, YAML, JSON, or what a template makes of them."""

from __future__ import annotations

from dataclasses import replace

from calicoctl import objects
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.objects import Document
from calicoctl.printing import Found, Results, printer_for, shows_as_numbers
from calicoctl.selection import NothingSelected, Selection, asks_for_all, placed, selected
from calicoctl.terminal import Terminal
from calicoctl.usage import FILES, Usage
from datastore.resource import KINDS, Key, Resource
from datastore.store import Missing, Store, StoreError

_FORMATS = "ps, wide, yaml, json, custom-columns=NAME,..., go-template=..., go-template-file=..."
USAGE = Usage(
    "[KIND [NAME...]]",
    "Shows all resources of a kind, those that are named, or those of a file (-f). The output as YAML or JSON can be\n"
    "fed back into apply and replace.",
    "# All pools, with everything that the table can show.\ncalicoctl get ippools -o wide\n\n"
    "# Two policies as YAML.\ncalicoctl get networkpolicy -n prod allow-dns allow-web -o yaml\n\n"
    "# Some columns.\ncalicoctl get ippool -o custom-columns=NAME,CIDR",
    (
        *FILES,
        Flag("output", f"Output format: {_FORMATS}.", "o", default="ps"),
        Flag("all-namespaces", "Of all namespaces.", "A", Takes.NOTHING),
        Flag("all-namespaces-a", "The same.", "a", Takes.NOTHING, is_hidden=True),
        Flag("export", "Without what only this cluster knows: uid, version, namespace, time.", takes=Takes.NOTHING),
    ),
)


def run(terminal: Terminal) -> None:
    output = terminal.words.text("output")
    with_namespace = asks_for_all(terminal) or bool(terminal.words.text("namespace"))
    printed = printer_for(output, with_namespace=with_namespace)
    try:
        selection = selected(terminal)
    except NothingSelected as error:
        raise Failure(f"failed to get resources: {error}") from None
    results, errors = terminal.with_store(lambda store: _read(terminal, store, selection, output))
    for text in printed(results):
        terminal.write(text)
    for why in (why for each in results.found if isinstance(each, objects.Objects) for why in each.unreadable):
        terminal.write_error(f"Note: one is not shown: {why}\n")
    if errors:
        raise Failure("\n".join(map(str, errors)))


async def _read(
    terminal: Terminal, store: Store, selection: Selection, output: str
) -> tuple[Results, list[StoreError | Failure]]:
    found: list[Found] = []
    errors: list[StoreError | Failure] = []
    for document in selection.documents:
        try:
            found.append(await _found(store, placed(document, terminal)))
        except (StoreError, Failure) as error:
            errors.append(error)
    if selection.has_names and terminal.words.has("export"):
        found = [_exported(each) if isinstance(each, Resource) else each for each in found]
    needs_number = shows_as_numbers(output) and any(each.kind == "Node" for each in found)
    return Results(found, await _as_number(store) if needs_number else ""), errors


async def _found(store: Store, document: Document) -> Found:
    key = objects.key_of(document)
    if not key.name:
        return await objects.list_of(store, key.kind, key.namespace)
    if KINDS[key.kind].is_namespaced and not key.namespace:
        raise Failure("cannot use --all-namespace flag for getting a single resource")
    return await objects.get(store, key)


def _exported(resource: Resource) -> Resource:
    return replace(resource, namespace="", uid="", revision="", created="")


async def _as_number(store: Store) -> str:
    """What nodes without a number of their own have; "" for the default."""
    try:
        configuration = await store.get(Key("BGPConfiguration", "default"))
    except Missing:
        return ""
    except StoreError:
        return "unknown"
    return str(configuration.spec.get("asNumber", ""))
