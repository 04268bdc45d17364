"""A container runtime, as far as CNI sees one: it makes namespaces and runs the configured chain of plugins.

Source: the CNI specification 1.1.0, "Network configuration lists" and "Derived requests".
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab import control_plane, flannel, namespaces
from lab.node import LabError, environment_of
from lab.state import LabState, NodeState, folder, locked

CONFLIST = Path("/etc/cni/net.d/10-calico.conflist")
PLUGIN_PATH = "/opt/cni/bin:/usr/lib/cni"
NO_CAPABILITIES: Mapping[str, Any] = {}


class PluginError(LabError):
    """A plugin refused; ``output`` is what it printed, for the user as it is."""

    def __init__(self, plugin: str, output: str) -> None:
        super().__init__(f"{plugin}: {output}")
        self.output = output


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the lab. ``is_plain``: a container that no Kubernetes knows; then its device is named after its id."""

    name: str
    namespace: str
    container: str
    is_plain: bool = False

    @property
    def netns(self) -> str:
        """The name of its network namespace below /run/netns of the node."""
        return f"cni-{self.container[:24]}"

    def matches(self, wanted: str) -> bool:
        return wanted in (self.name, f"{self.namespace}/{self.name}")


def add_pod(
    lab: LabState,
    node: NodeState,
    name: str,
    namespace: str,
    *,
    container: str = "",
    capabilities: Mapping[str, Any] = NO_CAPABILITIES,
) -> str:
    """Make a pod and connect it; returns the CNI result. With ``container``, a plain container of that id.

    ``capabilities``: what plugins that ask for it get as runtimeConfig, such as ``portMappings``.
    Raises LabError (PluginError when a plugin refused); then the pod is gone again.
    """
    if any(pod.name == name and pod.namespace == namespace for pod in pods(lab, node)):
        raise LabError(f"{node.name} has a pod {namespace}/{name} already")
    pod = Pod(name, namespace, container or secrets.token_hex(32), is_plain=bool(container))
    if control_plane.is_used(lab):
        if pod.is_plain:
            raise LabError("Kubernetes knows no plain containers: this lab's datastore takes pods only")
        control_plane.add_pod(lab, node.name, namespace, name)
    _run(lab, node, ["ip", "netns", "add", pod.netns])
    _run(lab, node, ["ip", "-n", pod.netns, "link", "set", "lo", "up"])  # a runtime's own part
    try:
        result = run_chain(lab, node, pod, "ADD", capabilities)
    except PluginError:
        run_chain(lab, node, pod, "DEL", capabilities)
        _run(lab, node, ["ip", "netns", "del", pod.netns])
        if control_plane.is_used(lab):
            control_plane.remove_pod(lab, namespace, name)
        raise
    _record(lab, node, lambda known: [*known, pod])
    return result


def delete_pod(lab: LabState, node: NodeState, wanted: str) -> None:
    pod = find(lab, node, wanted)
    run_chain(lab, node, pod, "DEL")
    _run(lab, node, ["ip", "netns", "del", pod.netns])
    _record(lab, node, lambda known: [each for each in known if each != pod])
    if control_plane.is_used(lab):
        control_plane.remove_pod(lab, pod.namespace, pod.name)


def find(lab: LabState, node: NodeState, wanted: str) -> Pod:
    """By name, or by namespace/name. Raises LabError."""
    found = [pod for pod in pods(lab, node) if pod.matches(wanted)]
    if len(found) != 1:
        known = ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods(lab, node)) or "none"
        raise LabError(f"{node.name} has {len(found) or 'no'} pods {wanted!r}; it has {known}")
    return found[0]


def pods(lab: LabState, node: NodeState) -> list[Pod]:
    path = _list_path(lab, node)
    return [Pod(**each) for each in json.loads(path.read_text())] if path.exists() else []


def run_chain(
    lab: LabState, node: NodeState, pod: Pod, command: str, capabilities: Mapping[str, Any] = NO_CAPABILITIES
) -> str:
    """Run every plugin of the node's configuration; ADD in order, DEL in reverse. Raises PluginError."""
    conflist = json.loads(_read(lab, node, flannel.CONFLIST if flannel.is_used(lab) else CONFLIST))
    plugins = conflist["plugins"] if command != "DEL" else list(reversed(conflist["plugins"]))
    result: Any = None
    for plugin in plugins:
        conf = {**plugin, "name": conflist["name"], "cniVersion": conflist["cniVersion"]}
        wanted = {name: capabilities[name] for name in plugin.get("capabilities", {}) if name in capabilities}
        if wanted:
            conf["runtimeConfig"] = wanted
        if result is not None:
            conf["prevResult"] = result
        printed = run_plugin(lab, node, pod, command, conf)
        result = json.loads(printed) if command == "ADD" else None
    return json.dumps(result, indent=4) if result is not None else ""


def run_plugin(lab: LabState, node: NodeState, pod: Pod, command: str, conf: Mapping[str, Any]) -> str:
    """Raises PluginError."""
    environment = environment_of(node.name, lab.environment)
    environment |= {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": pod.container,
        "CNI_NETNS": f"/run/netns/{pod.netns}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": PLUGIN_PATH,
        "CNI_ARGS": "" if pod.is_plain else _arguments(pod),
        "PATH": f"{PLUGIN_PATH}:{environment['PATH']}:/usr/sbin:/sbin",
    }
    status, output = namespaces.run_inside(
        node.holder, [conf["type"]], environment=environment, stdin=json.dumps(conf).encode()
    )
    if status:
        raise PluginError(conf["type"], output.decode(errors="replace"))
    return output.decode()


def _arguments(pod: Pod) -> str:
    return (
        f"IgnoreUnknown=1;K8S_POD_NAMESPACE={pod.namespace};K8S_POD_NAME={pod.name};"
        f"K8S_POD_INFRA_CONTAINER_ID={pod.container}"
    )


def default_conflist(mtu: int = 0, *, has_ipv6: bool = False) -> dict[str, Any]:
    families = {"assign_ipv4": "true", "assign_ipv6": "true"} if has_ipv6 else {}
    calico = {"type": "calico", "log_level": "info", "mtu": mtu, "ipam": {"type": "calico-ipam", **families}}
    return {"name": "k8s-pod-network", "cniVersion": "1.0.0", "plugins": [calico | {"policy": {"type": "k8s"}}]}


def _read(lab: LabState, node: NodeState, path: Path) -> bytes:
    status, output = namespaces.run_inside(
        node.holder, ["cat", str(path)], environment=environment_of(node.name, lab.environment)
    )
    if status:
        raise LabError(f"{node.name} has no {path}")
    return output


def _run(lab: LabState, node: NodeState, argv: list[str]) -> None:
    status, output = namespaces.run_inside(node.holder, argv, environment=environment_of(node.name, lab.environment))
    if status:
        raise LabError(f"{' '.join(argv)} on {node.name}: {output.decode(errors='replace')}")


def _list_path(lab: LabState, node: NodeState) -> Path:
    return folder(lab.name) / "nodes" / node.name / "pods.json"


def _record(lab: LabState, node: NodeState, change: Callable[[list[Pod]], list[Pod]]) -> None:
    """Others may add pods at the same moment."""
    path = _list_path(lab, node)
    fresh = path.with_suffix(".new")
    with locked(lab.name):
        fresh.write_text(json.dumps([asdict(pod) for pod in change(pods(lab, node))]))
        fresh.replace(path)
