"""A whole lab: up, down, and nodes that join and leave.

Whatever fails half-way takes down what it made. Taking down ends the processes that hold the namespaces; everything
that was made inside goes with them.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv4Network, IPv6Network
from pathlib import Path

import cni_plugin.plugin
from datastore.resources import EncapMode
from felix.startup.environment import BadEnvironment
from felix.startup.pools import modes_from
from lab import control_plane, daemons, etcd, flannel, namespaces, plan, runtime, state
from lab.namespaces import Holder
from lab.node import LabError, environment_of, make_fabric, make_node, remove_node, run_ip, write_file
from lab.plan import BadWish, NodePlan
from lab.state import LabState, NodeState

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What ``lab up`` is asked for."""

    name: str = "lab"
    nodes: int = 3
    is_routed: bool = False
    datastore: str = "sqlite"
    pool: str = "10.244.0.0/16"
    ipip: str = "Never"
    vxlan: str = "Never"
    has_ipv6: bool = False
    pool_v6: str = "fd00:10:244::/64"
    network: str = "calico"
    backend: str = "vxlan"


def up(wish: Wish, say: Say) -> LabState:
    """Raises BadWish, LabError, NamespaceError; then nothing is left of it."""
    _check(wish)
    plans = plan.nodes(wish.nodes, is_routed=wish.is_routed, has_ipv6=wish.has_ipv6)
    with state.locked(wish.name):
        if (state.folder(wish.name) / "state.json").exists():
            raise BadWish(f"lab {wish.name} is up already; take it down with: lab down --name {wish.name}")
        _clear(wish.name)
        try:
            return _build(wish, plans, say)
        except BaseException:
            _clear(wish.name)
            raise


def down(name: str) -> None:
    """Raises NoLab."""
    with state.locked(name):
        if not state.folder(name).exists():
            state.load(name)
        _clear(name)
    state.forget_lock(name)


def add_node(name: str, say: Say) -> NodeState:
    """One more node, with its daemons running."""
    with state.locked(name):
        lab = state.load(name)
        wanted = plan.node(lab.next_number, subnet=IPv4Network(lab.subnet), has_ipv6=lab.has_ipv6)
        lab = _join(lab, wanted)
        node = lab.node(wanted.name)
        try:
            _register(lab, node)
            daemons.start_all(lab, [(node, daemon) for daemon in daemons.names(lab)])
        except BaseException:
            _leave(lab, node)
            if control_plane.is_used(lab):
                control_plane.remove_node(lab, node.name)
            raise
        say(f"{node.name} at {node.address} joined")
        return node


def delete_node(name: str, node_name: str) -> None:
    """The node's machine is gone at once, and its Node object is deleted, as an operator does with a dead node."""
    with state.locked(name):
        lab = state.load(name)
        node = lab.node(node_name)
        _leave(lab, node)
        if flannel.is_used(lab):
            flannel.forget(lab, node)
            return
        if control_plane.is_used(lab):
            control_plane.remove_node(lab, node_name)
        status, output = namespaces.run_inside(
            lab.fabric,
            ["calicoctl", "delete", "node", node_name, "--skip-not-exists"],
            environment=environment_of("", {**lab.environment, **control_plane.admin_environment(lab)}),
        )
        if control_plane.is_used(lab):
            control_plane.collect_pods(lab, node_name)
        if status:
            raise LabError(f"calicoctl delete node {node_name}: {output.decode(errors='replace')}")


def _check(wish: Wish) -> None:
    if wish.datastore == "etcd":
        etcd.check()
    elif wish.datastore not in ("sqlite", "kubernetes"):
        raise BadWish(f"--datastore {wish.datastore}: there are sqlite, etcd and kubernetes")
    try:
        modes_from(_environment(wish, Path()))
    except BadEnvironment as error:
        raise BadWish(str(error)) from None
    try:
        IPv4Network(wish.pool)
    except ValueError as error:
        raise BadWish(f"--pool {wish.pool}: {error}") from None
    try:
        IPv6Network(wish.pool_v6)
    except ValueError as error:
        raise BadWish(f"--pool-v6 {wish.pool_v6}: {error}") from None
    if wish.network == "flannel":
        flannel.check(wish.backend, wish.pool, wish.pool_v6 if wish.has_ipv6 else "")
        if wish.datastore != "sqlite":
            raise BadWish(f"--datastore {wish.datastore}: a lab of flannel's keeps its leases in a folder")


def _check_kernel(wish: Wish, fabric: Holder) -> None:
    """A tunnel that the kernel cannot make would leave the lab waiting."""
    if modes_from(_environment(wish, Path()))[0] is EncapMode.NEVER:
        return
    try:
        run_ip(fabric, ["link add probe type ipip local 127.0.0.1", "link del probe"])
    except LabError:
        lack = "the kernel of this machine has no ipip (modprobe ipip); ./demo ipip boots one that has"
        raise BadWish(f"--ipip {wish.ipip}: {lack}") from None


def _build(wish: Wish, plans: list[NodePlan], say: Say) -> LabState:
    folder = state.folder(wish.name)
    folder.mkdir(parents=True)
    subnet = plan.near_subnet(len(plans))
    commands = plan.fabric_commands(subnet=subnet, is_routed=wish.is_routed, has_ipv6=wish.has_ipv6)
    fabric = make_fabric(commands, folder)
    lab = LabState(wish.name, fabric, str(subnet), wish.is_routed, wish.has_ipv6, _environment(wish, folder))
    state.save(lab)
    _check_kernel(wish, fabric)
    if flannel.is_used(lab):
        flannel.configure(lab, wish.backend)
    if wish.datastore == "etcd":
        etcd.make(fabric, folder)
    if wish.datastore == "kubernetes":
        say("starting the API server")
        found = control_plane.start(lab.name, fabric, str(plan.GATEWAY))
        lab = replace(lab, environment={**lab.environment, **found})
        state.save(lab)
    for count, wanted in enumerate(plans, 1):
        lab = _join(lab, wanted)
        if count % 10 == 0:
            say(f"{count} of {len(plans)} nodes made")
    for node in lab.nodes:
        _register(lab, node)
    for first in range(0, len(lab.nodes), 10):
        some = lab.nodes[first : first + 10]
        daemons.start_all(lab, [(node, daemon) for node in some for daemon in daemons.names(lab)])
        if len(lab.nodes) > 10:
            say(f"daemons of {first + len(some)} of {len(lab.nodes)} nodes ready")
    return lab


def _environment(wish: Wish, folder: Path) -> dict[str, str]:
    in_file = {"DATASTORE_TYPE": "sqlite", "DATASTORE_PATH": str(folder / "datastore.sqlite")}
    return {
        "LAB_NAME": wish.name,
        **(etcd.ENVIRONMENT if wish.datastore == "etcd" else in_file),
        "CALICO_IPV4POOL_CIDR": wish.pool,
        "CALICO_IPV4POOL_IPIP": wish.ipip,
        "CALICO_IPV4POOL_VXLAN": wish.vxlan,
        "FELIX_DEFAULTENDPOINTTOHOSTACTION": "ACCEPT",  # as Calico's manifests have it
        **(_environment_v6(wish) if wish.has_ipv6 else {}),
        **(flannel.environment(wish.name) if wish.network == "flannel" else {}),
    }


def _environment_v6(wish: Wish) -> dict[str, str]:
    return {
        "CALICO_IPV6POOL_CIDR": wish.pool_v6,
        "CALICO_IPV6POOL_VXLAN": wish.vxlan,
        "CALICO_IPV6POOL_NAT_OUTGOING": "true",
    }


def _join(lab: LabState, wanted: NodePlan) -> LabState:
    folder = state.folder(lab.name)
    holder = make_node(wanted, lab.fabric, folder)
    address_v6 = str(wanted.address_v6 or "")
    lab = lab.with_node(NodeState(wanted.name, wanted.number, str(wanted.address), holder, address_v6))
    state.save(lab)
    node = lab.node(wanted.name)
    _install(lab, node)
    return lab


def _install(lab: LabState, node: NodeState) -> None:
    """The CNI plugin and its configuration, where a runtime looks for them."""
    if flannel.is_used(lab):
        flannel.install(lab, node)
        return
    interpreter = getattr(sys, "_base_executable", sys.executable)
    body = Path(cni_plugin.plugin.__file__).read_text().partition("\n")[2]
    write_file(node.holder, "/opt/cni/bin/calico", f"#!{interpreter} -IS\n{body}", mode="755")
    conflist = runtime.default_conflist(has_ipv6=lab.has_ipv6)
    write_file(node.holder, str(runtime.CONFLIST), json.dumps(conflist, indent=2), mode="600")


def _register(lab: LabState, node: NodeState) -> None:
    """``calico-node -startup``: the Node object, and with the first node the pool."""
    if flannel.is_used(lab):
        flannel.register(lab, node)
        return
    if control_plane.is_used(lab):
        control_plane.add_node(lab, node.name, node.address)
    environment = environment_of(node.name, lab.environment) | {"IP": str(IPv4Interface(node.address))}
    if node.address_v6:
        environment["IP6"] = node.address_v6
    status, output = namespaces.run_inside(node.holder, ["calico-node", "-startup"], environment=environment)
    if status:
        raise LabError(f"calico-node -startup on {node.name}: {output.decode(errors='replace')}")


def _leave(lab: LabState, node: NodeState) -> None:
    wanted = NodePlan(node.name, node.number, IPv4Interface(node.address), gateway="")
    remove_node(wanted, node.holder, lab.fabric, state.folder(lab.name))
    state.save(lab.without_node(node.name))


def _clear(name: str) -> None:
    """End whatever holds something of this lab, and remove its folder."""
    folder = state.folder(name)
    if folder.exists():
        for holder in state.holders(name):
            namespaces.end(holder)
        shutil.rmtree(folder)
