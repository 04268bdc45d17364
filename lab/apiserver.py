"""A Kubernetes API server with its etcd, and nothing else of Kubernetes: no kubelet, no controllers.

Where its programs are found, which files they need, and their command lines. Who starts them is another's affair: a
lab does in its fabric, a test on loopback. Pods and Nodes are objects that somebody makes, which is all that Calico
looks at.
"""

from __future__ import annotations

import asyncio
import csv
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from datastore.kubernetes import access as access_to
from datastore.kubernetes.client import Client
from datastore.kubernetes.trouble import Asked
from datastore.resource import Key
from datastore.store import Exists, Forbidden, Unavailable

BUILT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tortie-tests"
"""Where ./test puts the kube-apiserver that it builds."""

ADMIN, NODE = "admin", "calico-node"
"""Users: one who may do everything, and one who may do what RBAC lets him."""
SERVICE_NETWORK = "10.96.0.0/16"


class NoProgram(Exception):
    """A program is missing; the message says which, and where it was looked for."""


@dataclass(frozen=True, slots=True)
class Server:
    """``tokens``: a bearer token of each user. ``ca`` vouches for the server's certificate."""

    url: str
    ca: Path
    tokens: Mapping[str, str]
    etcd_url: str
    etcd: Sequence[str]
    apiserver: Sequence[str]

    def environment(self, user: str) -> dict[str, str]:
        """What makes the datastore this server."""
        return {
            "DATASTORE_TYPE": "kubernetes",
            "K8S_API_ENDPOINT": self.url,
            "K8S_CA_FILE": str(self.ca),
            "K8S_API_TOKEN": self.tokens[user],
        }


def prepare(
    folder: Path, address: str, *, port: int, etcd_ports: tuple[int, int], options: Sequence[str] = ()
) -> Server:
    """Write certificate and tokens into ``folder``; nothing runs yet. Raises NoProgram."""
    etcd, apiserver = _find("etcd"), _find("kube-apiserver")
    certificate, key = _self_signed(folder, address)
    tokens = {user: secrets.token_hex(16) for user in (ADMIN, NODE)}
    write_tokens(folder, tokens)
    client, peer = (f"http://127.0.0.1:{each}" for each in etcd_ports)
    return Server(
        url=f"https://{address}:{port}",
        ca=certificate,
        tokens=tokens,
        etcd_url=client,
        etcd=[
            etcd,
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        ],
        apiserver=[
            apiserver,
            f"--etcd-servers={client}",
            f"--bind-address={address}",
            f"--secure-port={port}",
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--authorization-mode=RBAC",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--cert-dir={folder}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={certificate}",
            f"--service-account-signing-key-file={key}",
            "--disable-admission-plugins=ServiceAccount,NamespaceLifecycle",
            "--profiling=false",
            *options,
        ],
    )


def missing() -> str:
    """What this machine lacks to run one, as a reason to skip a test; "" if nothing."""
    try:
        for program in ("etcd", "kube-apiserver", "openssl"):
            _find(program)
    except NoProgram as error:
        return str(error)
    return ""


def write_tokens(folder: Path, tokens: Mapping[str, str]) -> None:
    with (folder / "tokens.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        for user, token in tokens.items():
            groups = "system:masters" if user == ADMIN else "calico"
            writer.writerow([token, user, user, groups])


def _find(program: str) -> str:
    folders = [os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ.get("PATH", ""), str(BUILT)]
    found = shutil.which(program, path=os.pathsep.join(filter(None, folders)))
    if found is None:
        raise NoProgram(f"{program} is neither in KUBEBUILDER_ASSETS nor in PATH nor in {BUILT}")
    return found


def _self_signed(folder: Path, address: str) -> tuple[Path, Path]:
    """A certificate that is its own CA, for the days that a lab lives."""
    certificate, key = folder / "apiserver.crt", folder / "apiserver.key"
    subprocess.run(
        [
            *(_find("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "30", "-subj", "/CN=kube-apiserver"),
            *("-addext", f"subjectAltName=IP:{address},IP:127.0.0.1,DNS:kubernetes"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def client_of(server: Server, user: str) -> Client:
    access = access_to.find(server.environment(user), lambda path: Path(path).read_text())
    return Client(access, random=Random().random)


async def wait_until_ready(server: Server, *, patience_s: float = 60.0) -> None:
    """Raises TimeoutError. A server that starts says nothing of its progress, so it is asked again and again."""
    client = client_of(server, ADMIN)
    try:
        async with asyncio.timeout(patience_s):
            while True:
                try:
                    await client.ask("GET", "/api", anything("get", "api"))
                    await client.ask("GET", "/readyz?verbose=false", anything("get", "readyz"))
                except (Unavailable, Forbidden) as error:
                    if "no JSON" in str(error):  # the text "ok"
                        return
                    await asyncio.sleep(0.1)
    finally:
        await client.close()


async def install(client: Client, definitions: Sequence[Mapping[str, Any]]) -> None:
    """Make the custom resources, and wait until all of them are served."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for each in definitions:
        await make(client, path, each)
    now = await client.ask("GET", path, anything("list", "customresourcedefinitions"))
    wanted = {each["metadata"]["name"] for each in definitions}
    wanted -= {each["metadata"]["name"] for each in now["items"] if _is_established(each)}
    query = {"watch": "1", "resourceVersion": now["metadata"]["resourceVersion"]}
    async with client.watch(path, anything("watch", "customresourcedefinitions"), query=query) as stream:
        while wanted and (events := await stream.read()) is not None:
            wanted -= {each["object"]["metadata"]["name"] for each in events if _is_established(each["object"])}


async def make(client: Client, path: str, what: Mapping[str, Any]) -> dict[str, Any]:
    """Create an object; one that is there stays."""
    try:
        return await client.ask("POST", path, anything("create", path.rpartition("/")[2]), body=dict(what))
    except Exists:
        return {}


def _is_established(definition: Mapping[str, Any]) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def anything(verb: str, resource: str) -> Asked:
    return Asked(verb, resource, Key(resource, ""))
