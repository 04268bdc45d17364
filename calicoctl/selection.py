"""What a command is about: the documents of the files that the user names, or the kind and the names that he gives.

Of a name there is a document as well, with nothing in it but the name.
Source: Calico calicoctl/commands/common/resources.go, calicoctl/resourcemgr (GetResourcesFromArgs).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from calicoctl.failure import Failure
from calicoctl.kinds import kind_called
from calicoctl.objects import Document
from calicoctl.terminal import Terminal
from datastore.resource import API_VERSION, KINDS

DEFAULT_NAMESPACE = "default"


class Selection(NamedTuple):
    """``kind`` is the only one, "" where there are several. ``has_names``: the user gave names, not files."""

    documents: list[Document]
    kind: str
    has_names: bool = False


class NothingSelected(Failure):
    """No file is at fault: there is nothing in it, or no such kind."""


def selected(terminal: Terminal) -> Selection:
    """Raises Failure for what cannot be read, NothingSelected for what is not there."""
    path = terminal.words.text("filename") if "filename" in terminal.words.flags else ""
    if path:
        documents = _of_files(terminal, path)
        kinds = {document["kind"] for document in documents}
        return Selection(documents, kinds.pop() if len(kinds) == 1 else "")
    return _of_words(terminal)


def _of_files(terminal: Terminal, path: str) -> list[Document]:
    from calicoctl.documents import BadFile, files_of, read_file

    may_be_empty = terminal.words.has("skip-empty")
    found: list[Document] = []
    for each in files_of(path, is_recursive=terminal.words.has("recursive")):
        try:
            documents = read_file(each, terminal.read_input)
        except BadFile as error:
            raise Failure(f"failed to execute command: {error}") from None
        if not documents and not may_be_empty:
            raise NothingSelected(f"no resources specified in file {each}")
        found += documents
    if not found and not may_be_empty:
        raise NothingSelected(f"no resources specified in directory {path}")
    return found


def _of_words(terminal: Terminal) -> Selection:
    if not terminal.words.plain:
        raise NothingSelected(_WHAT_TO_SAY)
    word, *names = terminal.words.plain
    kind = kind_called(word)
    if kind is None:
        raise NothingSelected(f"resource type '{word}' is not supported")
    if "" in names:
        raise NothingSelected("resource name may not be empty")
    return Selection([_named(kind, name) for name in names or [""]], kind, has_names=bool(names))


_WHAT_TO_SAY = "say what: a file with -f FILE, or a kind and names, as in: calicoctl get ippool default-ipv4-ippool"


def _named(kind: str, name: str) -> Document:
    return {"kind": kind, "apiVersion": API_VERSION, "metadata": {"name": name}}


def placed(document: Document, terminal: Terminal) -> Document:
    """The document in the namespace that it, or the user, says. Raises Failure where the two disagree."""
    words, kind = terminal.words, document["kind"]
    asked, own = words.text("namespace"), document["metadata"].get("namespace", "")
    takes_all = asks_for_all(terminal)
    if not KINDS[kind].is_namespaced:
        if own:
            why = f"{kind} is not a namespaced resource"
            raise Failure(f"namespace should not be specified for a non-namespaced resource. {why}")
        if takes_all or asked:
            raise Failure(f"{kind} is not namespaced")
        return document
    if takes_all and asked:
        raise Failure("cannot use both --namespace and --all-namespaces flags at the same time")
    if own and asked and own != asked:
        raise Failure(f"resource namespace does not match client namespace. {own} != {asked}")
    return _in("" if takes_all else own or asked or DEFAULT_NAMESPACE, document)


def asks_for_all(terminal: Terminal) -> bool:
    """``-A``, or ``-a`` as it once was."""
    words = terminal.words
    return any(name in words.flags and words.has(name) for name in ("all-namespaces", "all-namespaces-a"))


def _in(namespace: str, document: Document) -> Document:
    metadata: dict[str, Any] = {**document["metadata"], "namespace": namespace}
    return {**document, "metadata": metadata}
