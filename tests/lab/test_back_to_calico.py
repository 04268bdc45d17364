"""Nodes of Calico's are taken over, used, uninstalled and given back: its data in etcd is as it left it, all the while.

The data is what Calico stored (tests/golden/etcd.json), with the lab's addresses for its nodes'. etcdctl puts it there
and reads it back. CALICOCTL names upstream's own calicoctl, where there is one: it reads the same.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import cluster, daemons, etcd, inside, namespaces, runtime
from lab.node import environment_of, write_file
from tests.etcd_server import needs_etcd
from tests.lab.conftest import lab_of
from tests.lab.testbed import Testbed

pytestmark = [pytest.mark.root, pytest.mark.server, pytest.mark.long]

GOLDEN: Mapping[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "etcd.json").read_text())
NODES = ("node1", "node2")
A, B = ("node1", "ours-a"), ("node2", "ours-b")
BLOCKS = "/calico/ipam/v2/assignment/"
CALICOS_CONFLIST = '{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [{"type": "calico"}]}\n'
CONFLIST, PLUGIN = "/etc/cni/net.d/10-calico.conflist", "/opt/cni/bin/calico"
READING = ("get nodes -o wide", "get workloadendpoints -A -o wide", "ipam show --show-blocks", "ipam check")

Data = Mapping[str, Any]


@dataclass(frozen=True)
class Story:
    """All that etcd held before, while a pod of ours was on each node, and after; ``files``: a node's, likewise."""

    before: Data
    during: Data
    after: Data
    files_before: str
    files_after: str
    told_before: Mapping[str, str]
    told_after: Mapping[str, str]
    """By upstream's calicoctl, where there is one."""


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    needs_etcd()
    if shutil.which("etcdctl") is None:
        pytest.skip("there is no etcdctl (etcd-client)")
    for lab in lab_of(cluster.Wish(name=f"t{os.getpid()}-back", nodes=2, datastore="etcd")):
        yield _played(lab)


def _played(lab: Testbed) -> Story:
    for node in NODES:
        for daemon in daemons.NAMES:
            lab.stop(node, daemon)
        lab.run(node, "ip", "route", "flush", "proto", "bird")
        lab.run(node, "sh", "-c", f"mkdir /opt/image && cp {PLUGIN} /opt/image")
        write_file(lab.node(node).holder, CONFLIST, CALICOS_CONFLIST)
        write_file(lab.node(node).holder, PLUGIN, "#!/bin/sh\necho of Calico\n", mode="755")
    _load(lab)
    before, files_before, told_before = _dump(lab), _files(lab), _told_by_calicos_own(lab)
    for node in NODES:
        address = lab.node(node).address
        lab.run(node, "env", f"IP={address}", "calico-node", "-startup")
        _install_cni(lab, node)
        for daemon in daemons.NAMES:
            lab.begin(node, daemon)
    with lab.pods(A, B) as (_, b):
        lab.eventually(lambda: lab.ping(*A, b) == 1, what="pods of ours reach each other in the way of Calico's pool")
        assert "dev vxlan.calico" in lab.routes("node1")
        during = _dump(lab)
    for node in NODES:
        for daemon in daemons.NAMES:
            lab.stop(node, daemon)
        lab.run(node, "calico-node", "-uninstall")
    return Story(before, during, _dump(lab), files_before, _files(lab), told_before, _told_by_calicos_own(lab))


def _load(lab: Testbed) -> None:
    """Calico's data in the place of all that is there."""
    text = json.dumps(GOLDEN, separators=(",", ":"), ensure_ascii=False)
    for number in (1, 2, 3):
        text = text.replace(f"172.30.0.{number}/", f"192.168.50.{number + 9}/")
    _etcdctl(lab, "del", "--prefix", "/calico/")
    for key, value in json.loads(text).items():
        _etcdctl(lab, "put", key, json.dumps(value, separators=(",", ":"), ensure_ascii=False))


def _dump(lab: Testbed) -> Data:
    found = json.loads(_etcdctl(lab, "get", "--prefix", "/calico/", "-w", "json"))
    pairs = ((base64.b64decode(each["key"]).decode(), base64.b64decode(each["value"])) for each in found["kvs"])
    return {key: json.loads(value) for key, value in pairs}


def _etcdctl(lab: Testbed, *words: str) -> str:
    argv = ["etcdctl", "--endpoints", etcd.ENDPOINT, *words]
    environ = {"PATH": os.environ["PATH"], "ETCDCTL_API": "3"}

    def run() -> str:
        return subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout

    return str(inside.call(lab.lab.fabric, run))


_INSTALL = """
import os, pathlib, sys
from cni_plugin.install import Places, install
places = Places(pathlib.Path("/opt/image"), pathlib.Path("/opt/cni/bin"), pathlib.Path("/etc/cni/net.d"))
print(*install({**os.environ, "CNI_NETWORK_CONFIG": sys.argv[1]}, places), sep="\\n")
"""


def _install_cni(lab: Testbed, node: str) -> None:
    """As the init container does, whose image has the program."""
    lab.run(node, sys.executable, "-c", _INSTALL, json.dumps(runtime.default_conflist()))


def _files(lab: Testbed) -> str:
    return lab.run("node1", "sh", "-c", f"cat {CONFLIST} {PLUGIN}; ls -l {CONFLIST} {PLUGIN} | cut -c1-10")


def _told_by_calicos_own(lab: Testbed) -> Mapping[str, str]:
    program = os.environ.get("CALICOCTL", "")
    if not program:
        return {}
    environment = environment_of("", lab.lab.environment)
    told = {}
    for words in READING:
        status, output = namespaces.run_inside(lab.lab.fabric, [program, *words.split()], environment=environment)
        told[words] = f"{output.decode()}[rc {status}]"
    return told


# --- what is looked at ----------------------------------------------------------------------------------------------


def test_no_key_of_calicos_is_lost_and_none_of_ours_is_left(story: Story) -> None:
    assert story.after.keys() - story.before.keys() == set()
    assert story.before.keys() - story.after.keys() == set()


def test_what_calico_stored_is_what_it_finds(story: Story) -> None:
    """A block remembers by its sequence number, and by the order of free addresses, that it was used."""
    for key, value in story.before.items():
        assert _without_memory(key, story.after[key]) == _without_memory(key, value), key


def _without_memory(key: str, value: Any) -> Any:
    if not key.startswith(BLOCKS):
        return value
    return {**value, "sequenceNumber": 0, "unallocated": sorted(value["unallocated"])}


def test_every_block_is_one_by_calicos_own_rules_at_any_time(story: Story) -> None:
    for data in (story.before, story.during, story.after):
        blocks = [value for key, value in data.items() if key.startswith(BLOCKS)]
        assert len(blocks) == 4
        for block in blocks:
            assert _flaws(block) == []


def _flaws(block: Any) -> list[str]:
    """Source: Calico calicoctl ipam check, "Validating IPAMBlock structures"."""
    taken = {ordinal: index for ordinal, index in enumerate(block["allocations"]) if index is not None}
    free, attributes = block["unallocated"], block["attributes"]
    rules = {
        "an allocation names an attribute that is not there": all(index < len(attributes) for index in taken.values()),
        "an attribute is nobody's": set(taken.values()) == set(range(len(attributes))),
        "an address is free twice, or free and taken": len({*free, *taken}) == len(free) + len(taken),
        "an address is neither free nor taken": len(free) + len(taken) == len(block["allocations"]) == 64,
        "an allocation has no sequence number": {*map(int, block["sequenceNumberForAllocation"])} == {*taken},
    }
    return [flaw for flaw, holds in rules.items() if not holds]


def test_a_pod_of_ours_is_stored_as_calico_stores_its_own(story: Story) -> None:
    for kind, like in (
        ("/calico/ipam/v2/handle/", "k8s-pod-network.cid0001"),
        ("/calico/resources/v3/projectcalico.org/workloadendpoints/", "default/node1-cni-cid0001-eth0"),
    ):
        new = [value for key, value in story.during.items() if key.startswith(kind) and key not in story.before]
        assert len(new) == len(NODES)
        for value in new:
            assert list(value) == list(story.before[kind + like])
    (block,) = [
        value for key, value in story.during.items() if key.endswith("10.244.166.128-26") and key.startswith(BLOCKS)
    ]
    assert [sorted(each) for each in block["attributes"]] == [["handle_id", "secondary"]] * 3


def test_plugin_and_configuration_are_calicos_again(story: Story) -> None:
    assert CALICOS_CONFLIST in story.files_before
    assert story.files_after == story.files_before


def test_calicos_own_calicoctl_tells_the_same_before_and_after(story: Story) -> None:
    if not story.told_before:
        pytest.skip("CALICOCTL names no calicoctl of upstream's")
    assert story.told_after == story.told_before
    assert "found 0 problems" in story.told_after["ipam check"]
