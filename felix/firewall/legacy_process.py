"""A process that writes legacy tables once and ends: ``python -m felix.firewall.legacy_process``.

libxtables, which python-iptables calls, ends the process where it meets what it does not expect (two IP versions in
one process are enough, with some extensions), and never gives its memory back. So each write has a process of its
own. It reads what is wanted (a pickled :class:`Work`) on standard input, imports the library, and only then waits for
the lock. Prints the number of edits, or says on standard error what is wrong and ends with 1.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from felix.firewall.iptables_text import Wanted, plan
from felix.firewall.legacy_tables import LegacyTables
from felix.firewall.model import FirewallUnavailable, Table
from felix.firewall.xtables_lock import lock_path, locked


@dataclass(frozen=True, slots=True)
class Work:
    version: int
    tables: Mapping[Table, Wanted]


def do(work: Work) -> int:
    """The number of edits. Raises FirewallUnavailable."""
    tables = LegacyTables()
    with locked(lock_path(os.environ)):
        return sum(_do_one(tables, work.version, table, wanted) for table, wanted in work.tables.items())


def _do_one(tables: LegacyTables, version: int, table: Table, wanted: Wanted) -> int:
    if wanted.is_empty and not tables.exists(version, table):
        return 0
    edits = plan(wanted, tables.read(version, table))
    if edits:
        tables.edit(version, table, edits)
    return len(edits)


def main() -> int:
    _spare_what_python_iptables_does_not_need()
    try:
        sys.stdout.write(f"{do(pickle.load(sys.stdin.buffer))}\n")
    except FirewallUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _spare_what_python_iptables_does_not_need() -> None:
    """It looks for its C libraries by way of gcc and ld, if they are on the path, and takes a folder's name from
    distutils that it can have from sysconfig: together more than half of its start.
    """
    os.environ["PATH"] = ""
    sys.modules["distutils"] = None  # type: ignore[assignment]  # "not to be found", to the import system


if __name__ == "__main__":
    sys.exit(main())
