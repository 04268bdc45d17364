"""``calicoctl``: which command is meant, and how it ends. Errors are one sentence, without a prefix, exit status 1.

Only what the command at hand needs is imported: starting takes longer than doing.
Source: Calico calicoctl/commands/command.go.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from importlib import import_module
from typing import Any

from calicoctl.failure import Failure
from calicoctl.flags import Words, parse
from calicoctl.terminal import Environ, Terminal
from calicoctl.tree import Branch, Found, find
from calicoctl.usage import GLOBAL, HELP, LOG_LEVELS, Usage
from datastore.store import Store, StoreError

INTERRUPTED = 130
"""The exit status that shells give whoever was stopped with Ctrl-C."""

UNFINISHED = "__complete"
"""What a shell asks to complete a line; the line follows."""

World = Callable[[Words], Terminal]


def main() -> int:
    """The console script: the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    try:
        return _ended(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _ended(words: Sequence[str]) -> int:
    try:
        return run(words, _world)
    except (Failure, StoreError) as error:
        stream = sys.stdout if isinstance(error, Failure) and error.is_output else sys.stderr
        sys.stdout.flush()
        stream.write(f"{in_plain_words(str(error))}\n")
        return 1
    finally:
        sys.stdout.flush()


def run(words: Sequence[str], world: World) -> int:
    """The command that ``words`` ask for, in the world that ``world`` makes, and its exit status: 0 unless the command
    says another. Raises Failure, StoreError.
    """
    if words[:1] == [UNFINISHED]:
        from calicoctl import suggestions

        suggestions.run(words[1:], world)
        return 0
    found = find(words)
    if isinstance(found.command, Branch):
        _show_branch(found, found.command, world)
        return 0
    module = import_module(f"calicoctl.{found.command.module}")
    usage: Usage = module.USAGE
    parsed = parse(found.rest, (*usage.flags, *GLOBAL, HELP))
    terminal = world(parsed)
    if parsed.has(HELP.name):
        from calicoctl import help

        terminal.say(help.of_command(found.path, usage))
        return 0
    _check(parsed, usage)
    return module.run(terminal) or 0


def _show_branch(found: Found, branch: Branch, world: World) -> None:
    from calicoctl import help

    parsed = parse(found.rest, (*GLOBAL, HELP))
    world(parsed).say(help.of_branch(found.path, branch))


def _check(words: Words, usage: Usage) -> None:
    count = len(words.plain)
    if usage.least == usage.most and count != usage.least:
        raise Failure(f"accepts {usage.least} arg(s), received {count}")
    if count < usage.least:
        raise Failure(f"requires at least {usage.least} arg(s), only received {count}")
    level = words.text("log-level")
    if level.lower() not in (*LOG_LEVELS, "warning", "trace"):
        raise Failure(f"unknown log level: {level}, expected one of: {', '.join(LOG_LEVELS)}")


_UNKNOWN_FIELD = re.compile('unknown field "([^"]+)"')


def in_plain_words(message: str) -> str:
    """An error without what only a programmer would understand."""
    if unknown := _UNKNOWN_FIELD.search(message):
        return f"field in document is not recognized or is in the wrong location: {unknown[1]}"
    return message.removeprefix("error unmarshaling JSON: while decoding JSON: json: ")


# --- the real world -----------------------------------------------------------------------------------------------


def _world(words: Words) -> Terminal:
    return Terminal(
        words=words,
        environ=os.environ,
        write=sys.stdout.write,
        write_error=sys.stderr.write,
        read_input=_read_input,
        connect=_connect,
        drive=_drive,
        wall_ns=time.time_ns,
        sleep=time.sleep,
    )


def _read_input() -> str:
    return sys.stdin.read()


def _connect(environ: Environ) -> Store:
    from datastore.connect import connect

    return connect(environ)


def _drive(environ: Environ, work: Coroutine[Any, Any, Any]) -> Any:
    from datastore.connect import type_of

    if type_of(environ) == "sqlite":
        from datastore import plain

        return plain.run(work)
    import asyncio

    return asyncio.run(work)
