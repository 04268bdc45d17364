"""The two plugins that a host may have: the reference in Python and the helper in C, built once a run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

import cni_plugin.flannel
import cni_plugin.plugin
from cni_plugin.build import FLANNEL, SOURCE, NoCompiler, build

NAMES = ("python", "c")
VERSION = "v1.2.3"
_FOLDER = tempfile.TemporaryDirectory(prefix="plugin-")


def plugin(name: str) -> Sequence[str]:
    """How it is called. Skips the test where there is no C compiler."""
    if name == "python":
        return [sys.executable, "-IS", cni_plugin.plugin.__file__]
    return _built(SOURCE)


def flannel_plugin(name: str) -> Sequence[str]:
    """As :func:`plugin`, of flannel's."""
    if name == "python":
        return [sys.executable, "-IS", cni_plugin.flannel.__file__]
    return _built(FLANNEL)


def _built(source: Path) -> Sequence[str]:
    try:
        return [str(helper(source))]
    except NoCompiler as error:
        pytest.skip(f"the plugin's helper in C cannot be built: {error}")


@cache
def helper(source: Path = SOURCE) -> Path:
    """Raises NoCompiler."""
    program = Path(_FOLDER.name) / source.stem
    build(program, version=VERSION, source=source)
    return program
