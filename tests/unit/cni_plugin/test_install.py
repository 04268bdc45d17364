"""What the installer leaves on a host, in which order, and what is there again when it is taken away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from cni_plugin.install import CannotInstall, Places, install, uninstall

TEMPLATE = (Path(__file__).parents[3] / "manifests" / "base" / "config.yaml").read_text().partition("|-\n")[2]
ENVIRON = {"KUBERNETES_NODE_NAME": "node1", "CNI_MTU": "1440", "CNI_NETWORK_CONFIG": TEMPLATE}
OURS, PORTMAP = b"our program", b"portmap of the image"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A host with its folders, and an image with programs."""
    found = Places(*(tmp_path / each for each in ("image", "bin", "net.d", "kept", "account")))
    for folder in (found.programs, found.bin, found.configuration):
        folder.mkdir()
    (found.programs / "calico").write_bytes(OURS)
    (found.programs / "portmap").write_bytes(PORTMAP)
    return found


def run(places: Places, **environ: str) -> list[str]:
    return list(install({**ENVIRON, **environ}, places))


def conflist(places: Places) -> Mapping[str, object]:
    read: Mapping[str, object] = json.loads((places.configuration / "10-calico.conflist").read_text())
    return read


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_host_gets_the_programs_and_the_filled_in_configuration(places: Places) -> None:
    assert run(places) == ["calico: written", "calico-ipam: written", "portmap: written", "10-calico.conflist: written"]
    assert files(places.bin) == {"calico": OURS, "calico-ipam": OURS, "portmap": PORTMAP}
    assert (places.bin / "calico").stat().st_mode & 0o777 == 0o755
    assert (places.configuration / "10-calico.conflist").stat().st_mode & 0o777 == 0o600
    plugins = conflist(places)["plugins"]
    assert isinstance(plugins, list)
    assert (plugins[0]["nodename"], plugins[0]["mtu"]) == ("node1", 1440)
    assert [each["type"] for each in plugins] == ["calico", "portmap"]


def test_done_again_nothing_is_written(places: Places) -> None:
    run(places)
    before = (places.bin / "calico").stat().st_ino
    assert run(places) == ["10-calico.conflist: is as it was"]
    assert (places.bin / "calico").stat().st_ino == before


def test_a_plugin_of_the_host_that_is_not_ours_stays(places: Places) -> None:
    (places.bin / "portmap").write_bytes(b"the distribution's")
    run(places)
    assert files(places.bin)["portmap"] == b"the distribution's"


def test_a_configuration_that_names_a_plugin_that_is_nowhere_is_not_written(places: Places) -> None:
    (places.programs / "portmap").unlink()
    with pytest.raises(CannotInstall, match="names the plugin portmap, which neither the host nor the image has"):
        run(places)
    assert files(places.configuration) == {}


def test_a_disk_that_is_full_leaves_the_old_program_and_no_configuration(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    (places.bin / "calico").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run(places)
    assert files(places.bin) == {"calico": b"old"}
    assert files(places.configuration) == {}


@pytest.mark.parametrize(
    ("template", "why"),
    [("{", "is no JSON"), ("[]", "must be an object with a list"), ('{"a": "__WHAT__"}', "nobody knows what __WHAT__")],
)
def test_a_configuration_that_cannot_be_meant_is_refused(places: Places, template: str, why: str) -> None:
    with pytest.raises(CannotInstall, match=why):
        run(places, CNI_NETWORK_CONFIG=template)
    assert files(places.bin) == {}


def test_the_name_of_the_file_is_chosen_and_the_old_one_goes(places: Places) -> None:
    run(places)
    said = run(places, CNI_CONF_NAME="05-calico.conflist", CNI_OLD_CONF_NAME="10-calico.conflist")
    assert said[-1] == "10-calico.conflist: removed, 05-calico.conflist takes its place"
    assert set(files(places.configuration)) == {"05-calico.conflist"}


def test_a_kubeconfig_is_written_for_a_configuration_that_asks_for_one(places: Places) -> None:
    places.account.mkdir()
    (places.account / "token").write_text("secret")
    (places.account / "ca.crt").write_text("certificate")
    template = '{"plugins": [{"type": "calico", "kubernetes": {"kubeconfig": "__KUBECONFIG_FILEPATH__"}}]}'
    run(places, CNI_NETWORK_CONFIG=template, KUBERNETES_SERVICE_HOST="10.96.0.1", KUBERNETES_SERVICE_PORT="443")
    assert "/etc/cni/net.d/calico-kubeconfig" in (places.configuration / "10-calico.conflist").read_text()
    config = json.loads((places.configuration / "calico-kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://10.96.0.1:443"
    assert config["users"][0]["user"] == {"token": "secret"}
    assert (places.configuration / "calico-kubeconfig").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("10-flannel.conflist", "flannel: new pods go to Calico, 10-calico.conflist comes first"),
        ("05-flannel.conflist", "flannel: new pods go to it, not to Calico"),
        ("05-other.conf", "another network (05-other.conf): new pods go to it, not to Calico"),
    ],
)
def test_another_networks_configuration_is_named(places: Places, name: str, told: str) -> None:
    (places.configuration / name).write_text("{}")
    said = run(places)[-1]
    assert said.startswith(f"conflict: {places.configuration / name} configures {told}")
    assert said.endswith("; move it away when that network is gone")


def test_what_was_there_before_is_there_again(places: Places) -> None:
    (places.bin / "calico").write_bytes(b"upstream's")
    (places.bin / "calico").chmod(0o750)
    (places.configuration / "10-calico.conflist").write_text("upstream's")
    run(places)
    run(places, CNI_MTU="1400")
    assert list(uninstall(places)) == [
        "10-calico.conflist: what was there before is back",
        "calico: what was there before is back",
        "calico-ipam: removed",
        "portmap: removed",
    ]
    assert files(places.bin) == {"calico": b"upstream's"}
    assert (places.bin / "calico").stat().st_mode & 0o777 == 0o750
    assert files(places.configuration) == {"10-calico.conflist": b"upstream's"}
    assert not places.kept.exists()


def test_what_somebody_has_changed_since_stays(places: Places) -> None:
    run(places)
    (places.configuration / "10-calico.conflist").write_text("mine")
    assert next(uninstall(places)) == "10-calico.conflist: is not what was installed any more, and stays as it is"


def test_uninstalling_what_was_never_installed_does_nothing(places: Places) -> None:
    assert list(uninstall(places)) == []
