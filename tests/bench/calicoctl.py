"""What a command of calicoctl costs: ``.venv/bin/python -m tests.bench.calicoctl`` prints one table, in half a minute.

From the start of the process to its end, on the embedded datastore and, where they are installed, on etcd and a
kube-apiserver with 3 nodes. Modules come compiled, as installed ones do.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from datastore.etcd import EtcdStore
from datastore.kubernetes.groups import Group
from datastore.plain import run
from datastore.resource import Resource
from datastore.sqlite import SqliteStore
from datastore.store import Create
from lab import apiserver
from manifests.crds import definitions
from tests.etcd_server import EtcdServer
from tests.servers.kubernetes import KubeServer

PROGRAM = "import sys; from calicoctl.command import main; sys.exit(main())"
RUNS = 30
MANY = 20_000
NODES = 3

FEW = ("version", "get nodes", "get ippools -o wide", "get ippools -o yaml", "get ippool small -o json")
IPAM = ("ipam show", "ipam show --show-blocks", "ipam check")
DOCUMENTS = Path(__file__).parents[1] / "golden" / "calicoctl" / "pools_and_nodes.yaml"


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        for what, figure in rows(Path(folder)):
            print(f"{what:<58} {figure}", flush=True)


def rows(folder: Path) -> Iterator[tuple[str, str]]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    environ |= {"DATASTORE_TYPE": "sqlite", "DATASTORE_PATH": str(folder / "datastore.sqlite")}
    yield "start of Python alone", _spread([_timed("", environ, program="pass") for _ in range(RUNS)])
    _timed(f"apply -f {DOCUMENTS}", environ)
    for line in (*FEW, *IPAM, f"apply -f {DOCUMENTS}"):
        _timed(line, environ)
        yield line.replace(str(DOCUMENTS.parent), "..."), _spread([_timed(line, environ) for _ in range(RUNS)])
    _fill(environ["DATASTORE_PATH"])
    for output in ("wide", "yaml", "json"):
        line = f"get wep -A -o {output}"
        yield f"{line}, of {MANY:,}", f"{_timed(line, environ):.2f} s, {_resident_mib(line, environ):.0f} MiB"
    for name, datastore in _servers():
        elsewhere = {name: environ[name] for name in ("PATH", "PYTHONPYCACHEPREFIX")} | dict(datastore)
        for line in ("get nodes", "ipam show"):
            _timed(line, elsewhere)
            yield f"{line}, on {name}", _spread([_timed(line, elsewhere) for _ in range(RUNS)])


def _servers() -> Iterator[tuple[str, Mapping[str, str]]]:
    """What makes the datastore each of them, one running at a time."""
    if shutil.which("etcd"):
        etcd = EtcdServer().start()
        store = EtcdStore(etcd.settings)
        asyncio.run(_make_nodes(store))
        yield "etcd", {"ETCD_ENDPOINTS": str(etcd.endpoint)}
        etcd.remove()
    if not apiserver.missing():
        server = KubeServer()
        asyncio.run(server.install(definitions(Group.V1)))
        for number in range(NODES):
            body = {"metadata": {"name": f"node{number}"}}
            asyncio.run(server.do("POST", "/api/v1/nodes", body))
        yield "the Kubernetes API", server.server.environment(apiserver.ADMIN)
        server.end()


async def _make_nodes(store: EtcdStore) -> None:
    for number in range(NODES):
        await store.create(Resource("Node", f"node{number}", spec={"bgp": {"ipv4Address": f"10.0.0.{number + 1}/24"}}))
    await store.close()


def _fill(path: str) -> None:
    store = SqliteStore(path)
    for first in range(0, MANY, 1000):
        run(store.write_many([Create(_endpoint(number)) for number in range(first, first + 1000)]))
    run(store.close())


def _endpoint(number: int) -> Resource:
    spec = {
        "node": f"node{number % 50}",
        "orchestrator": "k8s",
        "pod": f"web-{number}",
        "endpoint": "eth0",
        "ipNetworks": [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32"],
        "interfaceName": f"cali{number:011x}",
        "profiles": ["kns.default"],
    }
    return Resource("WorkloadEndpoint", f"wep-{number:06}", "default", spec=spec)


def _timed(line: str, environ: Mapping[str, str], *, program: str = PROGRAM) -> float:
    """Seconds."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", program, *line.split()], env=environ, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def _resident_mib(line: str, environ: Mapping[str, str]) -> float:
    told = "; import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    program = f"import sys; from calicoctl.command import main; main(){told}"
    words = [sys.executable, "-c", program, *line.split()]
    done = subprocess.run(words, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return int(done.stderr) / 1024


def _spread(seconds: list[float]) -> str:
    fastest, *_ = ordered = sorted(seconds)
    return f"fastest of {len(ordered)} {fastest * 1e3:.0f} ms, median {ordered[len(ordered) // 2] * 1e3:.0f} ms"


if __name__ == "__main__":
    main()
