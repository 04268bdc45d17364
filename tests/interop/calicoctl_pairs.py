"""The original's calicoctl and ours, each with a datastore of its own: given the same words, where do they differ?"""

from __future__ import annotations

import asyncio
import base64
import difflib
import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from datastore.kubernetes.groups import Group
from lab.apiserver import ADMIN
from manifests.crds import definitions
from tests.contract.test_calicoctl_on_kubernetes import KubernetesShell
from tests.etcd_server import EtcdServer, needs_etcd, shared_server
from tests.servers.kubernetes import KubeServer, skip_where_none_can_run, strict_server
from tests.unit.calicoctl.shell import Shell, Shown
from tests.unit.calicoctl.test_on_etcd import EtcdShell

Json = dict[str, Any]

_VARYING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r'((?:resourceVersion|generation)\\?"?: ?)\\?"?[\d/]+\\?"?'), r"\1REVISION"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "GUID"),
    (re.compile(r"\b0x[0-9a-f]+\b|(?<=\{Delete  )\d+\b"), "POINTER"),
)
_ON_PURPOSE = re.compile(r"(\[stderr\] )?Note: network policies are stored, and NOT ENFORCED\n")
_EXCUSED = (
    "goroutine ",  # the original panics
    ".secretKeyRef.LocalObjectReference.name ",  # a structure in another: Go takes no number for text there
    "unsupported PatchMode",  # felix creates endpoints by the driver that calicoctl uses
)
_IPAMS_OWN = "/calico/ipam/v2/config"
"""The original has two IPAM configurations on etcd that know nothing of each other, ours writes both."""


class Side(Protocol):
    """A datastore: how the original is led there, and all that is in it."""

    @property
    def environment(self) -> Mapping[str, str]: ...

    def dump(self) -> str: ...


@dataclass(frozen=True, slots=True)
class EtcdSide:
    server: EtcdServer

    @property
    def environment(self) -> Mapping[str, str]:
        return {"DATASTORE_TYPE": "etcdv3", "ETCD_ENDPOINTS": str(self.server.endpoint)}

    def dump(self) -> str:
        pairs = json.loads(self.server.ctl("get", "/", "--prefix", "-w", "json")).get("kvs", [])
        texts = {_text(each["key"]): _text(each.get("value", "")) for each in pairs}
        return "".join(f"{key} = {value}\n" for key, value in texts.items() if key != _IPAMS_OWN)


@dataclass(frozen=True, slots=True)
class KubernetesSide:
    server: KubeServer

    @property
    def environment(self) -> Mapping[str, str]:
        return {"DATASTORE_TYPE": "kubernetes", "KUBECONFIG": str(self._kubeconfig())}

    def dump(self) -> str:
        return asyncio.run(self._dump())

    async def _dump(self) -> str:
        lines = []
        for each in definitions(Group.V1):
            found = await self.server.do("GET", f"/apis/{Group.V1.value}/{each['spec']['names']['plural']}")
            for item in found["items"]:
                item["metadata"].pop("managedFields", None)
                lines.append(f"{json.dumps(item, sort_keys=True)}\n")
        return "".join(lines)

    def _kubeconfig(self) -> Path:
        access = self.server.server.environment(ADMIN)
        cluster = {"server": access["K8S_API_ENDPOINT"], "certificate-authority": access["K8S_CA_FILE"]}
        whole = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": access["K8S_API_TOKEN"]}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = self.server.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(whole))
        return path


@dataclass
class Pair:
    program: str
    theirs: Side
    ours: Side
    shell: Shell
    seen: set[str] = field(default_factory=set)

    def differ(self, words: str, document: Json | None = None) -> str:
        """Both, where they differ; each line of a difference is told once."""
        given = yaml.safe_dump(document) if document is not None else ""
        theirs = _plain(f"{self._theirs(words, given)}\n{self.theirs.dump()}")
        ours = _plain(f"{self.shell(words, given)}\n{self.ours.dump()}")
        if ours == theirs or any(each in theirs for each in _EXCUSED):
            return ""
        lines = list(difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "theirs", "ours", n=0, lineterm=""))
        fresh = [line for line in lines[2:] if not line.startswith("@@") and line not in self.seen]
        self.seen.update(fresh)
        return "\n".join((words, given, *fresh, "")) if fresh else ""

    def _theirs(self, words: str, given: str) -> Shown:
        done = subprocess.run(
            [self.program, *shlex.split(words)],
            input=given,
            capture_output=True,
            text=True,
            env=dict(self.theirs.environment),
            check=False,
        )
        return Shown(done.stdout, done.stderr, done.returncode)


@contextmanager
def on_etcd(program: str) -> Iterator[Pair]:
    needs_etcd()
    shared_server().clear()
    theirs = EtcdServer().start()
    try:
        yield Pair(program, EtcdSide(theirs), EtcdSide(shared_server()), EtcdShell())
    finally:
        theirs.remove()


@contextmanager
def on_kubernetes(program: str) -> Iterator[Pair]:
    skip_where_none_can_run()
    ours = strict_server()
    ours.clear()
    theirs = KubeServer()
    try:
        asyncio.run(theirs.install(definitions(Group.V1)))
        for server in (theirs, ours):
            asyncio.run(_furnish(server))
        yield Pair(program, KubernetesSide(theirs), KubernetesSide(ours), KubernetesShell(server=ours))
    finally:
        theirs.end()
        asyncio.run(_clear_away(ours))


_FURNITURE = {"/api/v1/namespaces": "prod", "/api/v1/nodes": "n1"}


async def _furnish(server: KubeServer) -> None:
    for path, name in _FURNITURE.items():
        await server.do("POST", path, {"metadata": {"name": name}})


async def _clear_away(server: KubeServer) -> None:
    for path, name in _FURNITURE.items():
        await server.do("DELETE", f"{path}/{name}")
    await server.do(
        "PUT", "/api/v1/namespaces/prod/finalize", {"metadata": {"name": "prod"}, "spec": {"finalizers": []}}
    )


def _plain(text: str) -> str:
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return _ON_PURPOSE.sub("", text)


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
