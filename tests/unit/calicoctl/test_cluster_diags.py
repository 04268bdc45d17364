"""cluster diags packs what kubectl answers, the nodes that the user names first."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.calicoctl.shell import Shell


def pod(name: str, node: str, namespace: str = "kube-system", owner: str = "calico-node", restarts: int = 0) -> Any:
    return {
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": [{"name": owner}]},
        "spec": {"nodeName": node, "containers": [{"name": "felix"}, {"name": "bgp"}]},
        "status": {"containerStatuses": [{"name": "felix", "restartCount": restarts}]},
    }


PODS = [
    pod("calico-node-a", "node1"),
    pod("calico-node-b", "node2", restarts=2),
    pod("calico-node-c", "node3"),
    pod("coredns-x", "node1", owner="coredns"),
    pod("web", "node1", namespace="default", owner="web"),
]
DEFINITIONS = [
    {
        "metadata": {"name": "ippools.crd.projectcalico.org"},
        "spec": {"versions": [{"name": "v0"}, {"name": "v1", "storage": True}]},
    },
    {"metadata": {"name": "widgets.example.com"}, "spec": {"versions": [{"name": "v1", "storage": True}]}},
]


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that answers the lists, and otherwise says what it was asked."""
    folder = tmp_path / "bin"
    for each in (folder, tmp_path / "tmp", tmp_path / "here"):
        each.mkdir()
    answers = {
        "get nodes -o json": [{"metadata": {"name": f"node{number}"}} for number in (1, 2, 3)],
        "get pods --all-namespaces -o json": PODS,
        "get customresourcedefinitions -o json": DEFINITIONS,
    }
    cases = "".join(f"'{asked}') echo '{json.dumps({'items': items})}';;\n" for asked, items in answers.items())
    script = f'#!/bin/sh\ncase "$*" in\n{cases}*pvc*) echo no >&2; exit 1;;\n*) echo "$*";;\nesac\n'
    (folder / "kubectl").write_text(script)
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "here")
    return folder


def diags(line: str = "") -> tuple[str, Mapping[str, str]]:
    """What was said, and the files of the archive."""
    shown = Shell()(f"cluster diags {line}")
    assert (shown.err, shown.status) == ("", 0)
    archive = re.findall(r"Diagnostic bundle created at (\./calico-diagnostics-\d{8}_\d{6}\.tar\.gz)\n", shown.out)[0]
    with tarfile.open(archive) as tar:
        read = {each.name: tar.extractfile(each) for each in tar if each.isfile()}
        files = {name.partition("/")[2]: file.read().decode() for name, file in read.items() if file}
    return shown.out, files


def test_what_kubectl_answers_is_packed_and_nothing_else_is_left(kubectl: Path, tmp_path: Path) -> None:
    said, files = diags()
    assert said.startswith("==== Begin collecting diagnostics. ====\nCreated temporary directory: ")
    assert files["cluster/version.yaml"] == "version -o yaml\n"
    assert files["cluster/crd/ippools.crd.projectcalico.org.yaml"] == (
        "get ippools.v1.crd.projectcalico.org --all-namespaces -o yaml\n"
    )
    assert not any("widgets" in name or "secret" in name or "coredns" in name for name in files)
    assert files["nodes/node2/ip-route.txt"] == (
        "exec -n kube-system calico-node-b -c felix -- ip route show table all\n"
    )
    assert files["nodes/node2/kube-system/calico-node-b.felix.previous.log"] == (
        "logs --previous --since=0s -n kube-system calico-node-b -c felix\n"
    )
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_answer_that_does_not_come_is_told_and_stops_nothing(kubectl: Path) -> None:
    said, files = diags()
    asked = "kubectl get pvc --all-namespaces -o yaml"
    assert re.search(rf"\[\d+\] Collect pvc \(yaml\)\nFailed to run command: {asked}\nError: no\n", said)
    assert "cluster/kubernetes/services.yaml" in files


def test_the_nodes_that_the_user_names_come_first(kubectl: Path) -> None:
    said, files = diags("--max-logs 1 --focus-nodes node3,node2 --since 2h")
    assert re.findall(r"for pod (\S+) in namespace (\S+) on node (\S+)\.\.\.", said) == [
        ("calico-node-c", "kube-system", "node3")
    ]
    assert files["nodes/node3/kube-system/calico-node-c.log"].startswith("logs --since=2h ")


@pytest.mark.parametrize(
    ("line", "out", "err"),
    [
        ("--since 5", "Error executing command: invalid duration for since flag (try 10s, 5m, or 1h): 5\n", ""),
        ("--max-logs -1", "Error executing command: negative value for max-logs flag\n", ""),
    ],
)
def test_a_wrong_flag_is_named(line: str, out: str, err: str) -> None:
    assert Shell()(f"cluster diags {line}") == (out, err, 1)


def test_without_kubectl_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    shown = Shell()("cluster diags")
    assert shown == ("", "missing dependency: unable to locate kubectl in PATH\n", 1)
