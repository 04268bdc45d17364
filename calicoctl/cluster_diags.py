"""``calicoctl cluster diags``: an archive of what Kubernetes and Calico say of the cluster, in the current folder.

Everything is asked of kubectl, which must be installed; an answer that does not come is told and stops nothing.
Source: Calico calicoctl/commands/cluster/diags.go, common/cmd.go.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

from calicoctl import cluster_questions as questions
from calicoctl.cluster_questions import Question
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.programs import ran
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage

USAGE = Usage(
    "",
    "Collects Calico's resources, its pods' logs and what each node says of its networking. Needs kubectl.",
    "# The last hour, node4 first.\ncalicoctl cluster diags --since=1h --focus-nodes=node4",
    (
        CONFIG,
        Flag("since", "Only logs of this time (30m, 2h)."),
        Flag("max-logs", "Logs of so many pods of each sort.", "", Takes.NUMBER, "5"),
        Flag("max-parallelism", "How much is asked at once.", "", Takes.NUMBER, "10"),
        Flag("focus-nodes", "Nodes whose pods are asked first, with commas between them."),
        Flag("skip-temp-dir-cleanup", "Leave the temporary folder there.", takes=Takes.NOTHING),
    ),
    most=0,
)
_ALL_LOGS = "0s"


def run(terminal: Terminal) -> None:
    """Raises Failure."""
    words = terminal.words
    since = words.text("since") or _ALL_LOGS
    if not re.fullmatch("[0-9]+[smh]", since):
        raise _wrong(f"invalid duration for since flag (try 10s, 5m, or 1h): {since}")
    if words.number("max-logs") < 0:
        raise _wrong("negative value for max-logs flag")
    if not shutil.which("kubectl"):
        raise Failure("missing dependency: unable to locate kubectl in PATH")
    terminal.say("==== Begin collecting diagnostics. ====")
    temporary = Path(tempfile.mkdtemp())
    terminal.say(f"Created temporary directory: {temporary}")
    try:
        _collect(terminal, temporary, since)
    finally:
        if not words.has("skip-temp-dir-cleanup"):
            shutil.rmtree(temporary)


def _wrong(why: str) -> Failure:
    return Failure(f"Error executing command: {why}", is_output=True)


def _collect(terminal: Terminal, temporary: Path, since: str) -> None:
    name = "calico-diagnostics-" + time.strftime("%Y%m%d_%H%M%S", time.gmtime(terminal.wall_ns() / 1e9))
    folder = temporary / name
    numbers = count(1)
    with ThreadPoolExecutor(max(1, terminal.words.number("max-parallelism"))) as executor:
        for part in (_of_pods(terminal, since), _of_cluster(terminal)):
            answers = [executor.submit(_answer, folder, each) for each in part]
            for answer, number in zip(answers, numbers, strict=False):
                terminal.say(f"[{number}] {answer.result()}")
    terminal.say("\n==== Producing a diagnostics bundle. ====")
    archive = Path(f"{name}.tar.gz")
    try:
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, arcname=name)
    except OSError as error:
        raise Failure(f"Could not create new archive {archive}: {error}") from None
    terminal.say(f"Diagnostic bundle created at ./{archive}")


def _answer(folder: Path, question: Question) -> str:
    """Writes the answer, also one that is an error; returns what the user is told."""
    output = ran(question.command)
    path = folder / question.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(output.text)
    if output.status:
        return f"{question.about}\nFailed to run command: {question.command}\nError: {output.text}"
    return question.about


def _of_pods(terminal: Terminal, since: str) -> Iterator[Question]:
    """Those on the nodes that the user names come first."""
    named = terminal.words.text("focus-nodes").split(",")
    nodes = [each["metadata"]["name"] for each in _items(terminal, questions.NODES)]
    pods = questions.calicos_pods(_items(terminal, questions.PODS))
    for pod in questions.chosen(pods, [*named, *nodes], most=terminal.words.number("max-logs")):
        where = f"in namespace {pod.namespace} on node {pod.node}"
        terminal.say(f"Collecting detailed diags for pod {pod.name} {where}...")
        if pod.name.startswith(f"{questions.AGENT}-"):
            yield from questions.of_agent(pod)
        yield from questions.of_pod(pod, since=since)


def _of_cluster(terminal: Terminal) -> Iterator[Question]:
    terminal.say("Collecting kubernetes version...")
    yield questions.VERSION
    yield from questions.of_calico(_items(terminal, questions.DEFINITIONS))
    terminal.say("Collecting core kubernetes resources...")
    yield from questions.of_kubernetes()


def _items(terminal: Terminal, command: str) -> Iterable[Mapping[str, Any]]:
    """Nothing, and a word to the user, where it failed."""
    output = ran(command)
    try:
        found: list[Mapping[str, Any]] = json.loads(output.text)["items"] if not output.status else []
    except (ValueError, KeyError, TypeError):
        found, output = [], output._replace(status=1)
    if output.status:
        terminal.say(f"ERROR running {command}: {output.text.strip()}")
    return found
