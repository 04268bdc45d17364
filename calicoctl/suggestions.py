"""How an unfinished command line may go on: commands, flags, kinds, names of what is there.

The hidden command ``__complete`` answers as cobra's does, so that its scripts and ours may ask either program: one
suggestion a line, with what it is behind a tab, and last ``:0`` where a file's name would do as well, else ``:4``.
Nothing that goes wrong is shown: whoever presses the tab key has not asked for anything yet.
Source: github.com/spf13/cobra completions.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import NamedTuple

from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes, Words, parse
from calicoctl.terminal import Terminal
from calicoctl.tree import Branch, Leaf, find
from calicoctl.usage import GLOBAL, HELP, LOG_LEVELS, Usage
from datastore.store import StoreError

ANY_FILE, NOTHING_ELSE = 0, 4
"""cobra's directives."""


class Suggestion(NamedTuple):
    text: str
    about: str = ""


class Answer(NamedTuple):
    suggestions: Sequence[Suggestion]
    directive: int = NOTHING_ELSE


def run(words: Sequence[str], world: Callable[[Words], Terminal]) -> None:
    """Answers for a line that ends with the last of ``words``, which may be unfinished or empty."""
    *before, last = words or [""]
    try:
        answer = _answer(before, last, world)
    except (Failure, StoreError):
        answer = Answer(())
    terminal = world(parse((), GLOBAL))
    for each in answer.suggestions:
        if each.text.startswith(last):
            terminal.say("\t".join(filter(None, each)))
    terminal.say(f":{answer.directive}")


def _answer(before: Sequence[str], last: str, world: Callable[[Words], Terminal]) -> Answer:
    found = find(before)
    if isinstance(found.command, Branch):
        if last.startswith("-"):
            return Answer(_flags(GLOBAL))
        return Answer([Suggestion(name, each.summary) for name, each in found.command.commands.items()])
    usage: Usage = import_module(f"calicoctl.{found.command.module}").USAGE
    flags = (*usage.flags, *GLOBAL, HELP)
    if (flag := _flag_that_waits(found.rest, flags)) is not None:
        return _values(flag, "")
    if last.startswith("-"):
        flag = _called(last.partition("=")[0], flags)
        return _values(flag, f"--{flag.name}=") if flag and "=" in last else Answer(_flags(flags))
    return _plain(found.command, parse(found.rest, flags), world)


def _flags(flags: Iterable[Flag]) -> list[Suggestion]:
    return [Suggestion(f"--{flag.name}", flag.about) for flag in flags if not flag.is_hidden]


def _called(word: str, flags: Iterable[Flag]) -> Flag | None:
    return next((flag for flag in flags if word in (f"--{flag.name}", f"-{flag.short or '-'}")), None)


def _flag_that_waits(before: Sequence[str], flags: Iterable[Flag]) -> Flag | None:
    """The one whose value comes next."""
    flag = _called(before[-1], flags) if before else None
    return flag if flag and flag.takes is not Takes.NOTHING else None


_VALUES: Mapping[str, Sequence[str]] = {
    "log-level": LOG_LEVELS,
    "output": ("ps", "wide", "yaml", "json", "custom-columns=", "go-template=", "go-template-file="),
    "strictaffinity": ("true", "false"),
    "kubevirt-ip-persistence": ("Enabled", "Disabled"),
}
_FILES = ("config", "filename", "from-report", "kubeconfig", "log-dir", "kernel-config", "felix-config")


def _values(flag: Flag, lead: str) -> Answer:
    if flag.name in _FILES or (flag.name == "output" and flag.default == ""):
        return Answer((), ANY_FILE)
    return Answer([Suggestion(lead + value) for value in _VALUES.get(flag.name, ())])


_ON_OBJECTS = ("get", "delete", "patch", "label")
SHELLS = ("bash", "fish", "powershell", "zsh")


def _plain(command: Leaf, words: Words, world: Callable[[Words], Terminal]) -> Answer:
    if command.module == "completion":
        return Answer([Suggestion(shell) for shell in SHELLS if not words.plain])
    if command.module not in _ON_OBJECTS:
        return Answer(())
    if not words.plain:
        return Answer(list(_kinds()))
    if command.module in ("patch", "label") and len(words.plain) > 1:
        return Answer(())
    return Answer([Suggestion(name) for name in _names(world(words)) if name not in words.plain[1:]])


def _kinds() -> Iterator[Suggestion]:
    """Each by its first name in the plural, or however else users call it most."""
    from calicoctl.kinds import KIND_BY_ALIAS

    seen: dict[str, str] = {}
    for alias, kind in KIND_BY_ALIAS.items():
        if kind not in seen:
            seen[kind] = alias
            yield Suggestion(alias, kind)


def _names(terminal: Terminal) -> list[str]:
    """Of the kind that is asked for, in the namespace that is."""
    from calicoctl.kinds import kind_called
    from calicoctl.objects import list_of
    from calicoctl.selection import DEFAULT_NAMESPACE
    from datastore.resource import KINDS

    kind = kind_called(terminal.words.plain[0])
    if kind is None:
        return []
    namespace = (terminal.words.text("namespace") or DEFAULT_NAMESPACE) if KINDS[kind].is_namespaced else ""
    listed = terminal.with_store(lambda store: list_of(store, kind, namespace))
    return [item.name for item in listed.items]
