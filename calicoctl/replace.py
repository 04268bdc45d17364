"""``calicoctl replace``: resources that exist get another content."""

from __future__ import annotations

from calicoctl import changes, objects, outcome
from calicoctl.terminal import Terminal
from calicoctl.usage import FILES, Usage

USAGE = Usage(
    "-f FILE",
    "Replaces resources that exist with those of a file, a folder or standard input (-f -), in YAML or JSON. A\n"
    "resource with a resourceVersion is replaced only if that is still its version.",
    "# Change what was read before.\ncalicoctl get ippool pool1 -o yaml > pool.yaml\nvi pool.yaml\n"
    "calicoctl replace -f pool.yaml",
    FILES,
)


def run(terminal: Terminal) -> None:
    outcome.report_replaced(terminal, changes.write(terminal, objects.update))
