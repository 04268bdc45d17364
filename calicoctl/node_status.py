"""``calicoctl node status``: does Calico run on this machine, and how are its BGP sessions?

Processes count when they share this one's network: what else runs on the machine is another node's. The speaker is
asked over its control socket; one that answers there runs, whatever its process is called. What both have for a person
to know comes last, on standard error: what programs read is upstream's, letter for letter.
Source: Calico calicoctl/commands/node/status.go.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from calicoctl import bird_table, box, json_out
from calicoctl.bird_table import Unreadable
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage

USAGE = Usage(
    "",
    "Shows whether Calico runs on this machine, and the state of its BGP sessions. Needs root; with --all it shows\n"
    "the sessions of every node, needs none, and runs wherever the datastore can be reached.",
    "calicoctl node status\n\n# All that the speaker says of its sessions.\ncalicoctl node status -o json\n\n"
    "# Every node's sessions, from anywhere.\ncalicoctl node status --all",
    (
        CONFIG,
        Flag("all", "Ask every node, by way of the datastore.", takes=Takes.NOTHING),
        Flag("output", "json for programs.", short="o"),
    ),
    most=0,
)

SPEAKERS = {4: "bird", 6: "bird6"}
"""By version of IP: the name of the process, and of its control socket."""
_SOCKET_FOLDERS = (Path("/var/run/calico"), Path("/var/run/bird"))
_ANSWERS_WITHIN_S = 2.0
_HEADINGS = ("PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO")

Words = Sequence[str]


class Unanswered(Exception):
    """Nobody answers at the control socket."""


class Machine(NamedTuple):
    """``commands``: how each process of this node was called; ``ask`` has the speaker's answer, raising Unanswered;
    ``notes``: what felix and the speaker have for a person to know.
    """

    is_root: bool
    commands: Sequence[Words]
    ask: Callable[[int], Sequence[str]]
    notes: Callable[[], Sequence[str]] = tuple


def run(terminal: Terminal) -> None:
    """Raises Failure."""
    form = terminal.words.text("output")
    if form not in ("", "json"):
        raise Failure(f"unrecognized output format '{form}': json is one")
    if terminal.words.has("all"):
        from calicoctl import node_status_all

        node_status_all.run(terminal, as_json=bool(form))
        return
    machine = Machine(os.geteuid() == 0, tuple(_commands()), _ask, _notes)
    if form:
        show_all(terminal, machine, _ask_all)
    else:
        show(terminal, machine)


def show(terminal: Terminal, machine: Machine) -> None:
    """Raises Failure."""
    if not machine.is_root:
        raise Failure("Need super user privileges: Operation not permitted", is_output=True)
    if not _felix_runs(machine):
        raise Failure("Calico process is not running.")
    terminal.say("Calico process is running.")
    answers = {version: _answer(machine, version) for version in SPEAKERS}
    if not any(_speaks(machine, version, answers[version]) for version in SPEAKERS):
        terminal.say("\nThe BGP backend process (BIRD) is not running.")
    else:
        for version, answer in answers.items():
            _show_speaker(terminal, machine, version, answer)
    terminal.say("")
    for note in machine.notes():
        terminal.write_error(f"Note: {note}\n")


def show_all(terminal: Terminal, machine: Machine, ask_all: Callable[[], Any]) -> None:
    """As JSON, with all that the speaker says over its own socket; null where none answers. Raises Failure."""
    if not machine.is_root:
        raise Failure("Need super user privileges: Operation not permitted", is_output=True)
    try:
        said = ask_all()
    except Unanswered:
        said = None
    terminal.say(json_out.text({"felixRuns": _felix_runs(machine), "notes": list(machine.notes()), "bgp": said}))


def _felix_runs(machine: Machine) -> bool:
    return _runs(machine, "calico-felix") or _runs(machine, "calico-node", "-felix")


def _runs(machine: Machine, *words: str) -> bool:
    """Whether a process was called with one of ``words`` in its place."""
    return any(word in words[at : at + 1] for called in machine.commands for at, word in enumerate(called))


def _answer(machine: Machine, version: int) -> Sequence[str] | Unanswered:
    try:
        return machine.ask(version)
    except Unanswered as error:
        return error


def _speaks(machine: Machine, version: int, answer: Sequence[str] | Unanswered) -> bool:
    return not isinstance(answer, Unanswered) or _runs(machine, SPEAKERS[version])


def _show_speaker(terminal: Terminal, machine: Machine, version: int, answer: Sequence[str] | Unanswered) -> None:
    if not _speaks(machine, version, answer):
        terminal.say(f"\nINFO: BIRDv{version} process: '{SPEAKERS[version]}' is not running.")
        return
    terminal.say(f"\nIPv{version} BGP status")
    if isinstance(answer, Unanswered):
        terminal.write(f"Error querying BIRD: unable to connect to BIRDv{version} socket: {answer}")
        return
    try:
        peers = bird_table.peers(answer, version)
    except Unreadable as error:
        raise Failure(f"error executing command: {error}") from None
    if not peers:
        terminal.say(f"No IPv{version} peers found.")
        return
    for line in box.lines(_HEADINGS, peers, has_centred_headings=True):
        terminal.write(line)


# --- the real machine ---------------------------------------------------------------------------------------------


def _commands() -> Iterator[Words]:
    own_network = os.stat("/proc/self/ns/net").st_ino
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.stat(folder / "ns/net").st_ino == own_network:
                yield tuple((folder / "cmdline").read_text(errors="replace").split("\0"))
        except OSError:  # it has ended, or is no business of ours
            continue


def _notes() -> Sequence[str]:
    """What both tell of an object is told once."""
    return tuple(dict.fromkeys((*_notes_of_felix(), *_notes_of_speaker())))


def _notes_of_felix() -> Sequence[str]:
    from felix import probes

    try:
        return probes.notes()
    except (OSError, ValueError):  # its health is not served, or it is upstream's
        return ()


def _notes_of_speaker() -> Sequence[str]:
    try:
        return tuple(_ask_all()["unreadable"])
    except (Unanswered, KeyError):  # it does not run, or is upstream's
        return ()


def _ask_all() -> Any:
    from bgp import control_client

    try:
        return control_client.ask({"do": "status"})
    except (control_client.Unanswered, control_client.Refused) as error:
        raise Unanswered(str(error)) from None


def _ask(version: int) -> Sequence[str]:
    return ask([folder / f"{SPEAKERS[version]}.ctl" for folder in _SOCKET_FOLDERS])


def ask(paths: Iterable[Path]) -> Sequence[str]:
    """What the first speaker says that answers at one of ``paths``. Raises Unanswered, Failure."""
    with _connected(paths) as connection:
        connection.sendall(bird_table.COMMAND)
        with connection.makefile(encoding="utf-8", errors="replace") as reply:
            return tuple(_until_end(reply))


def _until_end(reply: Iterable[str]) -> Iterator[str]:
    try:
        for line in reply:
            yield line.rstrip("\n")
            if line.startswith(bird_table.END):
                return
    except TimeoutError:
        raise Failure(f"error executing command: no answer from BIRD within {_ANSWERS_WITHIN_S:g} s") from None


def _connected(paths: Iterable[Path]) -> socket.socket:
    why = ""
    for path in paths:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_ANSWERS_WITHIN_S)
        try:
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            why = f"dial unix {path}: connect: {str(error.strerror).lower()}"
        else:
            return connection
    raise Unanswered(why)
