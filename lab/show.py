"""What demos show: the output of a program on a node or in a pod of a lab, below the words that ran it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lab import namespaces, runtime
from lab.node import environment_of
from lab.state import LabState, NodeState


class DemoFailed(Exception):
    """What was to be shown is not so."""


@dataclass(frozen=True, slots=True)
class DemoPod:
    """``container``: not a Kubernetes pod, so that its device is named after this id."""

    node: str
    name: str
    namespace: str = "default"
    container: str = ""

    def __str__(self) -> str:
        return f"{self.node}/{self.name}"


def command(lab: LabState, node: str, argv: list[str], *, pod: DemoPod | None = None) -> None:
    printed = output(lab, node, argv, pod=pod)
    print_(f"\n{pod or node} ~ {' '.join(argv)}\n{printed}".rstrip())


def output(lab: LabState, node: str, argv: list[str], *, pod: DemoPod | None = None) -> str:
    """What a program prints there. Raises DemoFailed."""
    program = shutil.which(argv[0], path=environment_of(node, lab.environment)["PATH"])
    if program is None:
        raise DemoFailed(f"{argv[0]} is not installed")
    status, printed = namespaces.run_inside(
        lab.node(node).holder,
        argv,
        environment=environment_of(node, lab.environment),
        netns=netns(lab, pod) if pod is not None else None,
    )
    if status:
        raise DemoFailed(f"{' '.join(argv)} ended with status {status}: {printed.decode()}")
    return printed.decode()


def netns(lab: LabState, pod: DemoPod) -> Path:
    node: NodeState = lab.node(pod.node)
    return Path("/run/netns", runtime.find(lab, node, f"{pod.namespace}/{pod.name}").netns)


def say(line: str) -> None:
    print_(f"\n{line}")


def print_(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
