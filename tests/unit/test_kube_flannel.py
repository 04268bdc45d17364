"""manifests/kube-flannel.yml: what it applies is what flanneld, the plugin and the image understand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_plugin import flannel
from flannel import flags, netconf
from manifests import image, rootfs

Json = dict[str, Any]
MANIFEST = Path(__file__).parents[2] / "manifests" / "kube-flannel.yml"


@pytest.fixture(scope="module")
def applied() -> dict[str, Json]:
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}


def pod(applied: dict[str, Json]) -> Json:
    spec: Json = applied["DaemonSet"]["spec"]["template"]["spec"]
    return spec


def containers(applied: dict[str, Json]) -> Iterator[Json]:
    yield from (*pod(applied)["initContainers"], *pod(applied)["containers"])


def test_the_objects_are_the_originals(applied: dict[str, Json]) -> None:
    names = {f"{kind} {each['metadata']['name']}" for kind, each in applied.items()}
    assert names == {
        "Namespace kube-flannel",
        "ServiceAccount flannel",
        "ClusterRole flannel",
        "ClusterRoleBinding flannel",
        "ConfigMap kube-flannel-cfg",
        "DaemonSet kube-flannel-ds",
    }
    assert [each["name"] for each in containers(applied)] == ["install-cni-plugin", "install-cni", "kube-flannel"]


def test_the_configurations_are_the_documents_and_are_understood(applied: dict[str, Json]) -> None:
    data = applied["ConfigMap"]["data"]
    config = netconf.read(data["net-conf.json"])
    assert (str(config.network), config.backend) == ("10.244.0.0/16", "vxlan")
    conflist = json.loads(data["cni-conf.json"])
    assert [plugin["type"] for plugin in conflist["plugins"]] == ["flannel", "portmap"]
    env = {"networks": ["10.244.0.0/16"], "subnets": ["10.244.1.0/24"], "mtu": 1450, "masquerades": True}
    delegate = flannel.delegate_of({**conflist["plugins"][0], "name": conflist["name"]}, env)
    assert (delegate["name"], delegate["hairpinMode"], delegate["isDefaultGateway"]) == ("cbr0", True, True)


def test_the_command_line_is_understood_and_the_probes_ask_where_it_listens(applied: dict[str, Json]) -> None:
    (daemon,) = pod(applied)["containers"]
    found = flags.read(daemon["args"], {}).flags
    assert (found.ip_masq, found.kube_subnet_mgr, found.healthz_port) == (True, True, 8081)
    assert daemon["ports"] == [{"name": "healthz", "containerPort": found.healthz_port}]
    probes = [daemon[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]
    assert probes == ["/healthz", "/readyz"]
    mounted = {mount["mountPath"].rstrip("/") for mount in daemon["volumeMounts"]}
    assert {str(Path(path).parent) for path in (found.net_config_path, found.subnet_file)} <= mounted


def test_every_container_runs_the_image_and_what_is_in_it(applied: dict[str, Json]) -> None:
    assert {each["image"] for each in containers(applied)} == {image.NAME}
    installer, configurer, daemon = containers(applied)
    assert installer["args"][1].lstrip("/") in rootfs.FLANNELS.values()
    assert daemon["command"][0] in rootfs.PROGRAMS
    assert configurer["args"] == ["-f", "/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/10-flannel.conflist"]


def test_every_volume_that_is_mounted_is_there(applied: dict[str, Json]) -> None:
    volumes = {each["name"] for each in pod(applied)["volumes"]}
    assert {mount["name"] for each in containers(applied) for mount in each["volumeMounts"]} == volumes


def test_the_account_may_do_what_the_daemon_does_and_no_more(applied: dict[str, Json]) -> None:
    granted = {(rule["resources"][0], verb) for rule in applied["ClusterRole"]["rules"] for verb in rule["verbs"]}
    nodes = {("nodes", verb) for verb in ("get", "list", "watch")}
    assert granted == nodes | {("pods", "get"), ("nodes/status", "patch")}


OLDER = Path(__file__).parents[1] / "cluster" / "older_kube_flannel.yml"
UNINSTALL = MANIFEST.with_name("uninstall-flannel.yml")


def test_the_older_manifest_asks_for_nothing_but_what_the_image_has() -> None:
    daemon_sets = [each for each in yaml.safe_load_all(OLDER.read_text()) if each["kind"] == "DaemonSet"]
    assert len(daemon_sets) == 5
    for each in daemon_sets:
        spec = each["spec"]["template"]["spec"]
        installer, daemon = spec["initContainers"][0], spec["containers"][0]
        assert installer["args"][1].lstrip("/") in rootfs.FLANNELS
        assert daemon["command"][0].lstrip("/") in rootfs.FLANNELS
        assert flags.read(daemon["args"], {}).flags.kube_subnet_mgr


def test_uninstalling_takes_what_the_manifest_puts_on_a_node_and_runs_the_same_image(applied: dict[str, Json]) -> None:
    removal = {each["kind"]: each for each in yaml.safe_load_all(UNINSTALL.read_text())}
    unplug, leave, done = containers(removal)
    assert {each["image"] for each in (unplug, leave, done)} == {image.NAME}
    (script,) = unplug["args"]
    installer, configurer, daemon = containers(applied)
    made = installer["args"][2], configurer["args"][2].removesuffix("list"), daemon["volumeMounts"][0]["mountPath"]
    assert [path for path in made if path.lstrip("/") not in script] == []
    assert leave["command"] == ["calico-node", "-leave-flannel"]
    granted = {(rule["resources"][0], verb) for rule in removal["ClusterRole"]["rules"] for verb in rule["verbs"]}
    assert granted == {("nodes", "get"), ("nodes", "list"), ("pods", "list"), ("nodes/status", "patch")}
