"""The help of a command, laid out as cobra does. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from calicoctl.flags import Flag, Takes
from calicoctl.tree import Branch
from calicoctl.usage import GLOBAL, HELP, Usage

_NAME_WIDTH = 11


def of_command(path: Sequence[str], usage: Usage) -> str:
    synopsis = f"{usage.synopsis} [flags]".strip()
    parts = [
        f"{usage.about}\n",
        f"Usage:\n  {' '.join(path)} {synopsis}\n",
        f"Examples:\n{_indented(usage.example)}\n",
        f"Flags:\n{_flags((*usage.flags, _help_of(path)))}\n",
        f"Global Flags:\n{_flags(GLOBAL)}",
    ]
    return "\n".join(parts)


def of_branch(path: Sequence[str], branch: Branch) -> str:
    called = " ".join(path)
    commands = "\n".join(f"  {name:<{_NAME_WIDTH}} {each.summary}" for name, each in branch.commands.items())
    own, others = ((*GLOBAL, _help_of(path)), ()) if len(path) == 1 else ((_help_of(path),), GLOBAL)
    parts = [
        f"{branch.about}\n",
        f"Usage:\n  {called} [command]\n",
        f"Available Commands:\n{commands}\n",
        f"Flags:\n{_flags(own)}\n",
        *([f"Global Flags:\n{_flags(others)}\n"] if others else []),
        f'Use "{called} [command] --help" for more information about a command.',
    ]
    return "\n".join(parts)


def _help_of(path: Sequence[str]) -> Flag:
    return HELP._replace(about=f"help for {path[-1]}")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())


def _flags(flags: Iterable[Flag]) -> str:
    shown = sorted((flag for flag in flags if not flag.is_hidden), key=lambda flag: flag.name)
    names = [_named(flag) for flag in shown]
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}   {_about(flag)}" for name, flag in zip(names, shown, strict=True))


def _named(flag: Flag) -> str:
    letter = f"-{flag.short}," if flag.short else "   "
    value = "" if flag.takes is Takes.NOTHING else f" {flag.takes.value}"
    return f"  {letter} --{flag.name}{value}"


def _about(flag: Flag) -> str:
    if not flag.default:
        return flag.about
    default = flag.default if flag.takes is Takes.NUMBER else f'"{flag.default}"'
    return f"{flag.about} (default {default})"
