"""Builds the plugins' helpers in C: static programs, so that they run on any host of the same processor.

python -m cni_plugin.build FILE           Calico's, from plugin.c
python -m cni_plugin.build FILE flannel   flannel's, from flannel.c
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("plugin.c")
FLANNEL = Path(__file__).with_name("flannel.c")


class NoCompiler(Exception):
    """There is none, or it has no static C library."""


def build(program: Path, *, version: str, source: Path = SOURCE) -> None:
    """``version`` is what the program prints for -v. Raises NoCompiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompiler("cc is not in PATH: install gcc and libc6-dev")
    words = [compiler, "-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", f'-DVERSION="{version}"']
    done = subprocess.run([*words, "-o", program, source], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoCompiler(f"cc: {done.stderr.strip()}")


def main() -> int:
    from importlib.metadata import version

    source = FLANNEL if sys.argv[2:] == ["flannel"] else SOURCE
    build(Path(sys.argv[1]), version=f"v{version('tortie')}", source=source)
    return 0


if __name__ == "__main__":
    sys.exit(main())
