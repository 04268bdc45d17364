"""``calicoctl apply``: resources are created, or updated where they exist."""

from __future__ import annotations

from calicoctl import changes, objects, outcome
from calicoctl.terminal import Terminal
from calicoctl.usage import FILES, Usage

USAGE = Usage(
    "-f FILE",
    "Creates the resources of a file, a folder or standard input (-f -), in YAML or JSON, or updates those that\n"
    "exist. A resource with a resourceVersion is updated only if that is still its version.",
    "# Make the datastore hold what a file says.\ncalicoctl apply -f pools.yaml\n\n"
    "# All files of a folder, and of those inside it.\ncalicoctl apply -R -f manifests/",
    FILES,
)


def run(terminal: Terminal) -> None:
    outcome.report(terminal, outcome.APPLY, changes.write(terminal, objects.apply))
