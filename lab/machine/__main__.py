"""``python -m lab.machine [OPTIONS] COMMAND...``: run a command in a machine of its own; its exit status is ours.

Exit status: the command's (127: no such program, 128 + n: ended by signal n), or 124: out of time, 125: the machine
died under it, 126: this computer cannot boot one, and nothing was run.
"""

from __future__ import annotations

import argparse
import signal
import sys

from lab.machine import boot

OUT_OF_TIME, DIED, NO_MACHINE = 124, 125, 126


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    signal.signal(signal.SIGHUP, lambda number, _: sys.exit(128 + number))
    parser = _parser()
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("say what to run")
    try:
        return boot.run(
            arguments.command,
            timeout_s=arguments.timeout,
            memory_mb=arguments.memory,
            writable=arguments.writable,
        )
    except boot.OutOfTime as error:
        return _fail(error, OUT_OF_TIME)
    except boot.MachineDied as error:
        return _fail(error, DIED)
    except boot.NoMachine as error:
        return _fail(error, NO_MACHINE)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _fail(error: Exception, status: int) -> int:
    sys.stderr.write(f"machine: {error}\n")
    return status


def _parser() -> argparse.ArgumentParser:
    about, _, ends = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="tests/uml/run", description=about, epilog=ends, allow_abbrev=False)
    parser.add_argument("--timeout", type=float, default=boot.TIMEOUT_S, metavar="S", help="seconds (%(default)g)")
    parser.add_argument("--memory", type=int, default=boot.MEMORY_MB, metavar="MB", help="of the machine (%(default)d)")
    parser.add_argument(
        "--writable", action="append", default=[], metavar="DIR", help="what is written below it stays after the end"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    return parser


if __name__ == "__main__":
    sys.exit(main())
