"""The common course of the commands that change things: read everything, check everything, only then write.

Of several documents one that is wrong in itself means that none is written, and the datastore is as it was. What only
the datastore can tell (it exists already, somebody else wrote in between) stops nothing: the others are written, and
the report says which failed. Upstream has no such check: it writes what comes before and after the bad document.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from calicoctl import objects
from calicoctl.failure import Failure
from calicoctl.objects import Document
from calicoctl.outcome import Outcome
from calicoctl.selection import placed, selected
from calicoctl.terminal import Terminal
from datastore import policies
from datastore.store import ApiServer, Store, StoreError

Step = Callable[[Store, Document], Awaitable[object]]


def write(terminal: Terminal, step: Step) -> Outcome:
    """``step`` for each document, in a datastore that has what every cluster has. Raises Failure."""
    written: set[str] = set()

    async def noted(store: Store, document: Document) -> None:
        await step(store, document)
        written.add(str(document["kind"]))

    outcome = _carry_out(terminal, noted, begin=_initialise, check=objects.check)
    if not written.isdisjoint(policies.KINDS):
        terminal.write_error("Note: network policies are stored, and NOT ENFORCED\n")
    return outcome


def delete(terminal: Terminal, step: Step) -> Outcome:
    """``step`` for each document; of its contents only the name counts. Raises Failure."""
    return _carry_out(terminal, step, begin=_nothing, check=_as_it_is)


def validate(terminal: Terminal) -> Outcome:
    """Nothing but the check. Raises Failure."""
    from datastore.validate import validated

    selection = selected(terminal)
    documents, flaws = _in_their_places(terminal, selection.documents)
    flaws += _flaws(documents, validated)
    return Outcome(selection.kind, len(selection.documents), is_tried=True, errors=flaws)


def _carry_out(
    terminal: Terminal,
    step: Step,
    *,
    begin: Callable[[Store], Awaitable[None]],
    check: Callable[[Document], object],
) -> Outcome:
    selection = selected(terminal)
    documents, flaws = _in_their_places(terminal, selection.documents)
    if len(documents) > 1:
        flaws += _flaws(documents, check)
    outcome = Outcome(selection.kind, len(selection.documents), is_tried=not flaws, errors=flaws)
    if flaws or not documents:
        return outcome

    async def work(store: Store) -> Outcome:
        await begin(store)
        return outcome._replace(errors=await _failures(store, documents, step))

    return terminal.with_store(work)


def _in_their_places(terminal: Terminal, documents: Iterable[Document]) -> tuple[list[Document], list[Exception]]:
    found: list[Document] = []
    flaws: list[Exception] = []
    for document in documents:
        try:
            found.append(placed(document, terminal))
        except Failure as error:
            flaws.append(error)
    return found, flaws


def _flaws(documents: Iterable[Document], check: Callable[[Document], object]) -> list[Exception]:
    flaws: list[Exception] = []
    for document in documents:
        try:
            check(document)
        except StoreError as error:
            flaws.append(error)
    return flaws


async def _failures(store: Store, documents: Iterable[Document], step: Step) -> list[Exception]:
    failures: list[Exception] = []
    for document in documents:
        try:
            await step(store, document)
        except (StoreError, Failure) as error:
            failures.append(error)
    return failures


async def _initialise(store: Store) -> None:
    from datastore.initial import initialise

    with suppress(StoreError):  # whoever may not write that may still write this
        kind = "kdd" if isinstance(store, ApiServer) else ""
        await initialise(store, new_guid=lambda: os.urandom(16).hex(), cluster_type=kind)


async def _nothing(store: Store) -> None:
    pass


def _as_it_is(document: Document) -> Document:
    return document
