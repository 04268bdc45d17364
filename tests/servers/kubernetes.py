"""A real kube-apiserver on loopback for the tests; the process that asks for one has it to itself until it ends."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import json
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from datastore.kubernetes import access as access_to
from datastore.kubernetes.client import LONGEST_SILENCE_S, Client
from datastore.kubernetes.groups import VIEWS, Group
from datastore.kubernetes.store import KubernetesStore
from datastore.kubernetes.trouble import Asked
from datastore.resource import KINDS, Key
from lab import apiserver
from lab.apiserver import ADMIN
from lab.ports import free_port
from manifests.crds import definitions

Json = dict[str, Any]

NOTHING_ELSE: Mapping[str, str] = {}
_DIE_WITH_PARENT = 1
_libc = ctypes.CDLL(None)


class KubeServer:
    """Two processes and a folder. Ends with the process that made it, however that ends."""

    def __init__(self, *, options: Sequence[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kube-"))
        self.server = apiserver.prepare(
            self.folder, "127.0.0.1", port=free_port(), etcd_ports=(free_port(), free_port()), options=options
        )
        self._etcd = self._start("etcd", self.server.etcd)
        self._apiserver = self._start("apiserver", self.server.apiserver)
        asyncio.run(apiserver.wait_until_ready(self.server))

    def store(self, user: str = ADMIN, **environment: str) -> KubernetesStore:
        return KubernetesStore(self.client(user, environment=environment))

    def client(
        self,
        user: str = ADMIN,
        *,
        environment: Mapping[str, str] = NOTHING_ELSE,
        longest_silence_s: float = LONGEST_SILENCE_S,
    ) -> Client:
        """``environment`` replaces parts of what leads to this server."""
        found = access_to.find(
            {**self.server.environment(user), **environment}, lambda path: Path(path).read_text(encoding="utf-8")
        )
        return Client(found, random=Random().random, longest_silence_s=longest_silence_s)

    async def do(self, method: str, path: str, body: Json | None = None) -> Json:
        """As the administrator, past our driver."""
        client = self.client()
        try:
            return await client.ask(method, path, Asked(method.lower(), path, Key("", "")), body=body)
        finally:
            await client.close()

    async def install(self, wanted: Sequence[Mapping[str, Any]]) -> None:
        client = self.client()
        await apiserver.install(client, wanted)
        await client.close()

    async def until_ready(self) -> None:
        await apiserver.wait_until_ready(self.server)

    def clear(self) -> None:
        """Delete whatever a test left."""

        async def go() -> None:
            store = self.store()
            listed = await asyncio.gather(*(store.list(kind) for kind in KINDS if kind not in VIEWS))
            await asyncio.gather(*(store.delete(item.key) for listing in listed for item in listing.items))
            await store.close()

        asyncio.run(go())

    def compact(self, revision: str) -> None:
        """etcd forgets how it came to what is stored now."""
        body = json.dumps({"revision": revision, "physical": True}).encode()
        urllib.request.urlopen(f"{self.server.etcd_url}/v3/kv/compaction", data=body).close()

    def stop_apiserver(self) -> None:
        """At once: told to end, it would wait a minute for those who watch."""
        self._apiserver.kill()
        self._apiserver.wait()

    def start_apiserver(self) -> None:
        self._apiserver = self._start("apiserver", self.server.apiserver)

    def end(self) -> None:
        for process in (self._apiserver, self._etcd):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """To be called by a thread that lives on: the process ends with it."""
        log = (self.folder / f"{name}.log").open("ab")
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            preexec_fn=lambda: _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL),
        )


def skip_where_none_can_run() -> None:
    if lack := apiserver.missing():
        pytest.skip(lack)


@cache
def contract_server() -> KubeServer:
    """Its custom resources hold anything, as the contract tests write it. It keeps changes until it is told to forget
    them: a watch cache would have its own mind about that."""
    skip_where_none_can_run()
    server = KubeServer(options=("--watch-cache=false",))
    atexit.register(server.end)
    asyncio.run(server.install([_permissive(each) for each in definitions(Group.V1)]))
    return server


@cache
def strict_server() -> KubeServer:
    """As clusters have it: Calico's definitions, and the watch cache."""
    skip_where_none_can_run()
    server = KubeServer()
    atexit.register(server.end)
    asyncio.run(server.install(definitions(Group.V1)))
    return server


def _permissive(definition: Json) -> Json:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    versions = [
        {"name": each["name"], "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
        for each in definition["spec"]["versions"]
    ]
    return {**definition, "spec": {**definition["spec"], "versions": versions}}
