"""Runs calicoctl's commands in this process, over the model of a datastore, and tells what a user would see.

A transcript is what a terminal showed, as the files in tests/golden/calicoctl hold it:

    # a remark
    $ calicoctl create -f - <<END
    ... what stands on standard input
    END
    what was on standard output
    [stderr] what was on standard error
    [rc 0]
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from calicoctl.command import run
from calicoctl.failure import Failure
from calicoctl.terminal import Environ, Terminal
from datastore import plain
from datastore.memory import Memory, MemoryStore
from datastore.store import Store, StoreError

GOLDEN = Path(__file__).parents[2] / "golden" / "calicoctl"
NOW_NS = 1_795_327_252_458_351_585
"""2026-11-22 06:00:52.458351585 UTC."""


class Shown(NamedTuple):
    """What a command printed, and its exit status."""

    out: str
    err: str
    status: int

    def __str__(self) -> str:
        err = f"[stderr] {self.err.rstrip()}\n" if self.err else ""
        return f"{self.out}{err}[rc {self.status}]"


@dataclass
class Shell:
    """One datastore, and a terminal to it."""

    memory: Memory = field(default_factory=Memory)
    environ: Mapping[str, str] = field(default_factory=dict)
    now_ns: int = NOW_NS
    sleep: Callable[[float], object] = lambda seconds: None
    heard: list[str] = field(default_factory=list)
    """All that was ever written on standard output, also by a command that never ended."""
    connections: int = 0
    wrap: Callable[[Store], Store] = lambda store: store
    """What a command is given in place of the store."""
    asked: Callable[[Environ], object] = lambda environ: None
    """Told what named the datastore, whenever a command opens it."""

    def __call__(self, line: str, stdin: str = "") -> Shown:
        """``line`` without ``calicoctl``, in the shell's notation."""
        out: list[str] = []
        err: list[str] = []
        try:
            status = run(shlex.split(line), lambda words: self._terminal(words, out, err, stdin))
        except (Failure, StoreError) as error:
            is_output = isinstance(error, Failure) and error.is_output
            (out if is_output else err).append(_plain(error))
            status = 1
        return Shown("".join(out), "".join(err), status)

    def _terminal(self, words: Any, out: list[str], err: list[str], stdin: str) -> Terminal:
        return Terminal(
            words=words,
            environ=self.environ,
            write=lambda text: self._write(out, text),
            write_error=err.append,
            read_input=lambda: stdin,
            connect=self._connect,
            drive=self._drive,
            wall_ns=lambda: self.now_ns,
            sleep=self.sleep,
        )

    def _write(self, out: list[str], text: str) -> None:
        out.append(text)
        self.heard.append(text)

    def _connect(self, environ: Environ) -> Store:
        self.connections += 1
        self.asked(environ)
        return self.wrap(MemoryStore(self.memory))

    def _drive(self, environ: Environ, work: Coroutine[Any, Any, Any]) -> Any:
        return plain.run(work)

    def ask(self, work: Any) -> Any:
        """What ``work`` gives, done on a client of the same datastore."""
        return plain.run(work(MemoryStore(self.memory)))


def _plain(error: Exception) -> str:
    from calicoctl.command import in_plain_words

    return f"{in_plain_words(str(error))}\n"


class Step(NamedTuple):
    """One command of a transcript, and all that stood below it."""

    line: str
    stdin: str
    shown: str


_STEP = re.compile(
    r"^\$ calicoctl(?P<line>[^\n]*?)(?: <<END\n(?P<stdin>.*?)END)?\n(?P<shown>.*?\[rc \d+\])$", re.MULTILINE | re.DOTALL
)


def steps_of(transcript: str) -> Iterator[Step]:
    for found in _STEP.finditer(transcript):
        yield Step(found["line"].strip(), found["stdin"] or "", found["shown"])


_CHANGING = (
    (re.compile(r'resourceVersion: "?\w+"?'), 'resourceVersion: "..."'),
    (re.compile(r'"resourceVersion": "\w+"'), '"resourceVersion": "..."'),
    (re.compile(r'creationTimestamp: "[-:TZ\d]+"'), 'creationTimestamp: "..."'),
    (re.compile(r'"creationTimestamp": "[-:TZ\d]+"'), '"creationTimestamp": "..."'),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "(a uid)"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "(a guid of 32 characters       )"),
)


def settled(text: str) -> str:
    """``text`` without what is another in every datastore: versions, identities, times of creation."""
    for pattern, instead in _CHANGING:
        text = pattern.sub(instead, text)
    return text


def retold(shell: Shell, steps: Iterator[Step]) -> tuple[str, str]:
    """What the transcript says, and what came out this time."""
    told: list[str] = []
    came: list[str] = []
    for step in steps:
        told.append(f"$ {step.line}\n{settled(step.shown)}")
        came.append(f"$ {step.line}\n{settled(str(shell(step.line, step.stdin)))}")
    return "\n".join(told), "\n".join(came)
