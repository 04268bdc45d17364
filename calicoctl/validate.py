"""``calicoctl validate``: whether resources are right in themselves; no datastore is asked."""

from __future__ import annotations

from calicoctl import changes, outcome
from calicoctl.terminal import Terminal
from calicoctl.usage import FILES, Usage

USAGE = Usage(
    "-f FILE",
    "Checks the resources of a file, a folder or standard input (-f -): whether they can be read, and whether every\n"
    "field holds what it may hold. No datastore is asked, so what other resources forbid is not seen.",
    "# Check a file before it is applied.\ncalicoctl validate -f policy.yaml",
    FILES,
)


def run(terminal: Terminal) -> None:
    outcome.report(terminal, outcome.VALIDATE, changes.validate(terminal))
