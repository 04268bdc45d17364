"""``calico-node -install-cni``: puts the plugin and its configuration where the container runtime looks for them.

The rules: programs first, the configuration last, each by rename, so that a runtime never finds one that names a
program that is not there, or half a file. What was there before is kept once, beside a note of what was written in its
place; :func:`uninstall` brings it back only where what was written still stands. Another's plugin of the same name as
one that we only bring along (portmap) stays.

Environment, paths and placeholders are those of upstream's installer. Ours needs no access to the datastore, so a
kubeconfig is written only for a configuration that asks for one.
Source: Calico cni-plugin/pkg/install.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OWN = ("calico", "calico-ipam")
_PROGRAM = "calico"
_CONFIGURATION = re.compile(r".*\.(conf|conflist|json)\Z")
_OFF = ("false", "0", "no", "f", "n")
_TEMPLATE = """{
  "name": "k8s-pod-network",
  "cniVersion": "1.0.0",
  "plugins": [
    {"type": "calico", "datastore_type": "__DATASTORE_TYPE__", "nodename": "__KUBERNETES_NODE_NAME__",
     "mtu": __CNI_MTU__, "ipam": {"type": "calico-ipam"}, "policy": {"type": "k8s"}},
    {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}
  ]
}
"""
_DEFAULTS = {
    "LOG_LEVEL": "info",
    "LOG_FILE_PATH": "/var/log/calico/cni/cni.log",
    "LOG_FILE_MAX_SIZE": "100",
    "LOG_FILE_MAX_AGE": "30",
    "LOG_FILE_MAX_COUNT": "10",
    "DATASTORE_TYPE": "kubernetes",
    "CNI_MTU": "0",
    "KUBERNETES_SERVICE_HOST": "",
    "KUBERNETES_SERVICE_PORT": "",
    "CALICO_API_GROUP": "crd.projectcalico.org/v1",
    "ETCD_ENDPOINTS": "",
    "ETCD_DISCOVERY_SRV": "",
    "ETCD_KEY_FILE": "",
    "ETCD_CERT_FILE": "",
    "ETCD_CA_CERT_FILE": "",
    "REQUIRE_MTU_FILE": "false",
}


class CannotInstall(Exception):
    """The message says what is missing, or which variable cannot be meant."""


@dataclass(frozen=True, slots=True)
class Places:
    """Folders as this process sees them. ``programs``: where the image has the plugins."""

    programs: Path = Path("/opt/cni/bin")
    bin: Path = Path("/host/opt/cni/bin")
    configuration: Path = Path("/host/etc/cni/net.d")
    kept: Path = Path("/var/lib/calico/before-install")
    account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def install(environ: Mapping[str, str], places: Places) -> Iterator[str]:
    """Do it; yields lines that say what was done. Raises CannotInstall, OSError."""
    text = _configuration(environ, places)
    named = {str(each.get("type")) for each in _plugins(text)}
    yield from _install_programs(environ, places, named)
    if "__KUBECONFIG_FILEPATH__" in _template(environ):
        _put(places.configuration / "calico-kubeconfig", _kubeconfig(environ, places), 0o600, places)
    name = environ.get("CNI_CONF_NAME") or "10-calico.conflist"
    is_new = _put(places.configuration / name, text.encode(), 0o600, places)
    yield f"{name}: {'written' if is_new else 'is as it was'}"
    old = environ.get("CNI_OLD_CONF_NAME") or name
    if old != name and (places.configuration / old).exists():
        (places.configuration / old).unlink()
        yield f"{old}: removed, {name} takes its place"
    yield from conflicts(places.configuration, name)


def uninstall(places: Places) -> Iterator[str]:
    """Put back what :func:`install` replaced and remove what it made, the configuration first. Raises OSError."""
    notes = _notes(places)
    for path in sorted(map(Path, notes), key=lambda path: path.parent != places.configuration):
        note = notes[str(path)]
        if not path.exists() or _digest(path.read_bytes()) != note["wrote"]:
            yield f"{path.name}: is not what was installed any more, and stays as it is"
        elif note["before"]:
            _replace(path, (places.kept / note["before"]).read_bytes(), note["mode"])
            yield f"{path.name}: what was there before is back"
        else:
            path.unlink()
            yield f"{path.name}: removed"
    for kept in [*places.kept.glob("*")]:
        kept.unlink()
    if places.kept.is_dir():
        places.kept.rmdir()


def conflicts(folder: Path, ours: str) -> Iterator[str]:
    """A line for each other network's configuration. The runtime takes the first in the order of names."""
    for path in sorted(folder.iterdir()):
        if path.name == ours or not _CONFIGURATION.match(path.name):
            continue
        network = "flannel" if "flannel" in path.name else f"another network ({path.name})"
        wins = "new pods go to it, not to Calico" if path.name < ours else f"new pods go to Calico, {ours} comes first"
        yield f"conflict: {path} configures {network}: {wins}; move it away when that network is gone"


# --- the configuration ----------------------------------------------------------------------------------------------


def _template(environ: Mapping[str, str]) -> str:
    file = environ.get("CNI_NETWORK_CONFIG_FILE", "")
    return Path(file).read_text() if file else environ.get("CNI_NETWORK_CONFIG", "") or _TEMPLATE


def _configuration(environ: Mapping[str, str], places: Places) -> str:
    text = _template(environ)
    values = {name: environ.get(name) or default for name, default in _DEFAULTS.items()}
    values["KUBERNETES_NODE_NAME"] = environ.get("KUBERNETES_NODE_NAME") or socket.gethostname().lower()
    values["KUBECONFIG_FILEPATH"] = f"{environ.get('CNI_NET_DIR') or '/etc/cni/net.d'}/calico-kubeconfig"
    if "__SERVICEACCOUNT_TOKEN__" in text:
        values["SERVICEACCOUNT_TOKEN"] = (places.account / "token").read_text()
    for name, value in values.items():
        text = text.replace(f"__{name}__", value)
    if left := re.search(r"__[A-Z_]+__", text):
        raise CannotInstall(f"CNI_NETWORK_CONFIG: nobody knows what {left[0]} stands for")
    return text


def _plugins(text: str) -> list[Mapping[str, Any]]:
    try:
        conflist = json.loads(text)
    except ValueError as error:
        raise CannotInstall(f"CNI_NETWORK_CONFIG is no JSON: {error}") from None
    plugins = conflist.get("plugins", [conflist]) if isinstance(conflist, dict) else None
    if not isinstance(plugins, list) or not all(isinstance(each, dict) for each in plugins):
        raise CannotInstall("CNI_NETWORK_CONFIG: must be an object with a list of plugins")
    return plugins


def _kubeconfig(environ: Mapping[str, str], places: Places) -> bytes:
    """With this pod's own token, for programs that read it now: Kubernetes lets a pod's token run out."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise CannotInstall("the configuration asks for a kubeconfig, and KUBERNETES_SERVICE_HOST is not set")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    ca = base64.b64encode((places.account / "ca.crt").read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": "calico", "user": {"token": (places.account / "token").read_text()}}],
        "contexts": [{"name": "calico-context", "context": {"cluster": "local", "user": "calico"}}],
        "current-context": "calico-context",
    }
    return json.dumps(config, indent=2).encode()


# --- files ------------------------------------------------------------------------------------------------------------


def _install_programs(environ: Mapping[str, str], places: Places, named: set[str]) -> Iterator[str]:
    """Ours, and those that the configuration names and the host does not have."""
    may_update = environ.get("UPDATE_CNI_BINARIES", "").lower() not in _OFF
    skipped = {name.strip() for name in environ.get("SKIP_CNI_BINARIES", "").split(",")}
    places.bin.mkdir(parents=True, exist_ok=True)
    for name in (*OWN, *sorted(named - {*OWN})):
        target, source = places.bin / name, places.programs / (_PROGRAM if name in OWN else name)
        is_there = target.exists()
        if is_there and not (name in OWN and may_update and name not in skipped):
            continue
        if not source.exists() or name in skipped:
            raise CannotInstall(f"the configuration names the plugin {name}, which neither the host nor the image has")
        if _put(target, source.read_bytes(), 0o755, places):
            yield f"{name}: {'updated' if is_there else 'written'}"


def _put(path: Path, content: bytes, mode: int, places: Places) -> bool:
    """Whether it was not so already. What was there before the first time is kept."""
    before = path.read_bytes() if path.exists() else None
    notes = _notes(places)
    if str(path) not in notes or before not in (None, content):
        _note(path, before, content, places, notes)
    if before == content:
        return False
    _replace(path, content, mode)
    return True


def _note(path: Path, before: bytes | None, content: bytes, places: Places, notes: dict[str, Any]) -> None:
    """Before it is written. Of what another program put there meanwhile, the first is what comes back."""
    known = notes.get(str(path), {})
    if not known:
        known = {"before": "", "mode": 0}
        if before is not None and before != content:
            known = {
                "before": hashlib.sha256(str(path).encode()).hexdigest()[:16],
                "mode": path.stat().st_mode & 0o7777,
            }
            places.kept.mkdir(parents=True, exist_ok=True, mode=0o700)
            _replace(places.kept / known["before"], before, 0o600)
    notes[str(path)] = {**known, "wrote": _digest(content)}
    places.kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(places.kept / "notes.json", json.dumps(notes, indent=1).encode(), 0o600)


def _notes(places: Places) -> dict[str, Any]:
    path = places.kept / "notes.json"
    notes: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return notes


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, also when the power fails."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def main(*, is_leaving: bool = False) -> int:
    places = Places()
    try:
        for line in uninstall(places) if is_leaving else install(os.environ, places):
            sys.stdout.write(f"{line}\n")
    except (CannotInstall, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
