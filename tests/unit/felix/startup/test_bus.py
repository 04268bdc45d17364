"""One question on a real message bus of the test's own."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from felix.startup.bus import BusError, Call, Nobody, ask

pytestmark = pytest.mark.server

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={path}</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
  </policy>
</busconfig>
"""
ITSELF = Call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Path]:
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed (Debian: dbus-daemon)")
    path, configuration = tmp_path / "bus", tmp_path / "bus.conf"
    configuration.write_text(CONFIGURATION.format(path=path))
    words = ["dbus-daemon", f"--config-file={configuration}", "--nofork", "--nopidfile", "--print-address"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield path
        process.send_signal(signal.SIGTERM)


def test_a_method_without_arguments_is_called(bus: Path) -> None:
    ask(ITSELF, bus=bus)


def test_a_number_goes_with_it_and_a_refusal_is_told_in_its_own_words(bus: Path) -> None:
    """The bus has no such method with a number, and says what it got."""
    with pytest.raises(BusError, match=r'wrong args|expects argument|unexpected|arguments|"u"') as caught:
        ask(replace(ITSELF, member="GetNameOwner", number=7), bus=bus)
    assert not isinstance(caught.value, Nobody)


def test_who_is_not_there_is_nobody(bus: Path) -> None:
    with pytest.raises(Nobody):
        ask(Call("org.freedesktop.network1", "/org/freedesktop/network1", "a.b", "Reload"), bus=bus)


def test_without_a_bus_the_kernel_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask(ITSELF, bus=tmp_path / "none")
