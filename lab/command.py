"""``lab``: clusters of network namespaces on one machine. Other programs rely on these commands: keep them."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lab import cluster, control_plane, daemons, flannel, namespaces, runtime, state
from lab.namespaces import NamespaceError
from lab.node import LabError, environment_of
from lab.plan import BadWish
from lab.state import LabState, NodeState, NoLab


def main() -> int:
    arguments = _parser().parse_args()
    if os.geteuid() != 0:
        return _fail("a lab is made of network namespaces, which needs root: run it as root")
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except runtime.PluginError as error:
        sys.stdout.write(error.output + "\n")
        return 1
    except (BadWish, LabError, NamespaceError, NoLab) as error:
        return _fail(str(error))


def _fail(message: str) -> int:
    sys.stderr.write(f"lab: {message}\n")
    return 1


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _up(arguments: argparse.Namespace) -> int:
    wish = cluster.Wish(
        name=arguments.name,
        nodes=arguments.nodes,
        is_routed=arguments.routed,
        datastore=arguments.datastore,
        pool=arguments.pool,
        ipip=arguments.ipip,
        vxlan=arguments.vxlan,
        network=arguments.network,
        backend=arguments.backend,
        has_ipv6=arguments.ipv6,
        pool_v6=arguments.pool_v6,
    )
    lab = cluster.up(wish, _say)
    _say(f"lab {lab.name}: {len(lab.nodes)} nodes up")
    return 0


def _backend(arguments: argparse.Namespace) -> int:
    with state.locked(arguments.name):
        lab = state.load(arguments.name)
        if not flannel.is_used(lab):
            return _fail(f"lab {lab.name} has no backend: make one with lab up --network flannel")
        flannel.switch(lab, arguments.backend, _say)
    return 0


def _down(arguments: argparse.Namespace) -> int:
    cluster.down(arguments.name)
    return 0


def _node_add(arguments: argparse.Namespace) -> int:
    cluster.add_node(arguments.name, _say)
    return 0


def _node_del(arguments: argparse.Namespace) -> int:
    cluster.delete_node(arguments.name, arguments.node)
    return 0


def _pod_add(arguments: argparse.Namespace) -> int:
    lab, node = _lab_and_node(arguments)
    print_ = sys.stdout.write
    print_(runtime.add_pod(lab, node, arguments.pod, arguments.namespace, container=arguments.container) + "\n")
    return 0


def _pod_del(arguments: argparse.Namespace) -> int:
    lab, node = _lab_and_node(arguments)
    wanted = f"{arguments.namespace}/{arguments.pod}" if arguments.namespace else arguments.pod
    runtime.delete_pod(lab, node, wanted)
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    argv = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not argv:
        return _fail("exec: say what to run, after --")
    return _exec_inside(arguments, argv)


def _exec_inside(arguments: argparse.Namespace, argv: list[str]) -> NoReturn:
    lab = state.load(arguments.name)
    node_name, _, pod_name = arguments.where.partition("/")
    node = lab.node(node_name)
    netns = Path("/run/netns", runtime.find(lab, node, pod_name).netns) if pod_name else None
    sys.stdout.flush()
    namespaces.exec_inside(node.holder, argv, environment=environment_of(node.name, lab.environment), netns=netns)


def _daemon(arguments: argparse.Namespace) -> int:
    lab, node = _lab_and_node(arguments)
    with state.locked(arguments.name):
        _DAEMON_ACTIONS[arguments.action](lab, node, arguments.daemon)
    return 0


def _restart(lab: LabState, node: NodeState, name: str) -> None:
    daemons.stop(lab, node, name)
    daemons.start(lab, node, name)


def _log(lab: LabState, node: NodeState, name: str) -> None:
    path = daemons.log_path(lab, node, name)
    if path.exists():
        sys.stdout.write(path.read_text(errors="replace"))


_DAEMON_ACTIONS: dict[str, Callable[[LabState, NodeState, str], None]] = {
    "start": daemons.start,
    "stop": daemons.stop,
    "kill": lambda lab, node, name: daemons.stop(lab, node, name, how=signal.SIGKILL),
    "restart": _restart,
    "log": _log,
}


def _ctl(arguments: argparse.Namespace) -> int:
    lab = state.load(arguments.name)
    program = shutil.which("calicoctl", path=environment_of("", lab.environment)["PATH"]) or "calicoctl"
    environment = {**os.environ, **lab.environment, **control_plane.admin_environment(lab)}
    namespaces.enter_netns(Path(f"/proc/{lab.fabric.pid}/ns/net"))  # where servers are; files stay the machine's
    os.execve(program, ["calicoctl", *arguments.words], environment)


def _status(arguments: argparse.Namespace) -> int:
    report = _report(state.load(arguments.name))
    if arguments.output == "json":
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return 0
    for node in report["nodes"]:
        known = (*daemons.NAMES, daemons.FLANNELD)
        running = "  ".join(f"{name} {'up' if node[name] else 'down'}" for name in known if name in node)
        sys.stdout.write(f"{node['name']:<10} {node['address']:<18} {running}\n")
        for pod in node["pods"]:
            sys.stdout.write(f"  {pod['namespace']}/{pod['name']}  {pod['container'][:12]}\n")
    return 0


def _report(lab: LabState) -> dict[str, Any]:
    nodes = [
        {
            "name": node.name,
            "address": node.address,
            "pid": node.holder.pid,
            **{name: daemons.running(lab, node, name) is not None for name in daemons.names(lab)},
            "pods": [
                {
                    "name": pod.name,
                    "namespace": pod.namespace,
                    "container": pod.container,
                    "netns": f"/run/netns/{pod.netns}",
                }
                for pod in runtime.pods(lab, node)
            ],
        }
        for node in lab.nodes
    ]
    return {"name": lab.name, "environment": lab.environment, "nodes": nodes}


def _lab_and_node(arguments: argparse.Namespace) -> tuple[LabState, NodeState]:
    lab = state.load(arguments.name)
    return lab, lab.node(arguments.node)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = _add(commands, "up", _up, "make a lab and start its daemons")
    up.add_argument("--nodes", type=int, default=3, help="how many (3)")
    up.add_argument("--datastore", choices=("sqlite", "etcd", "kubernetes"), default="sqlite")
    up.add_argument("--routed", action="store_true", help="the last node sits behind a router, at 192.168.51.12")
    up.add_argument("--pool", default="10.244.0.0/16", metavar="CIDR", help="the default IPv4 pool (10.244.0.0/16)")
    up.add_argument("--ipip", default="Never", metavar="MODE", help="Never, Always or CrossSubnet")
    up.add_argument("--vxlan", default="Never", metavar="MODE", help="Never, Always or CrossSubnet")
    up.add_argument(
        "--ipv6", action="store_true", help="nodes and pods have IPv6 too: fd00:50::10 beside 192.168.50.10"
    )
    up.add_argument("--pool-v6", default="fd00:10:244::/64", metavar="CIDR", help="the default IPv6 pool")
    up.add_argument("--network", choices=flannel.NETWORKS, default="calico", help="whose network it is (calico)")
    up.add_argument("--backend", choices=tuple(flannel.BACKENDS), default="vxlan", help="flannel's backend (vxlan)")
    backend = _add(commands, "backend", _backend, "another backend for a lab of flannel's, node after node")
    backend.add_argument("backend", choices=tuple(flannel.BACKENDS))
    _add(commands, "down", _down, "remove a lab with everything that it made")
    status = _add(commands, "status", _status, "nodes, daemons and pods")
    status.add_argument("-o", "--output", choices=("text", "json"), default="text")
    _add_pod_commands(commands.add_parser("pod", help="pods, added through the CNI protocol"))
    _add_node_commands(commands.add_parser("node", help="nodes that join and leave"))
    daemon = _add(commands, "daemon", _daemon, "start, stop, kill or restart a node's daemon, or print its log")
    daemon.add_argument("node")
    daemon.add_argument("daemon", choices=(*daemons.NAMES, daemons.FLANNELD, daemons.CONTROLLERS))
    daemon.add_argument("action", choices=tuple(_DAEMON_ACTIONS))
    execute = _add(commands, "exec", _exec, "run a program on a node, or in a pod")
    execute.add_argument("where", metavar="NODE[/POD]")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD ...")
    ctl = _add(commands, "ctl", _ctl, "calicoctl against the lab's datastore")
    ctl.add_argument("words", nargs=argparse.REMAINDER, metavar="ARGS ...")
    return parser


def _add_pod_commands(pod: argparse.ArgumentParser) -> None:
    commands = pod.add_subparsers(required=True, metavar="COMMAND")
    add = _add(commands, "add", _pod_add, "make a pod and connect it; prints the CNI result")
    add.add_argument("node")
    add.add_argument("pod")
    add.add_argument("--namespace", default="default")
    add.add_argument("--container", default="", metavar="ID", help="a plain container of this id, not a Kubernetes pod")
    delete = _add(commands, "del", _pod_del, "disconnect a pod and remove it")
    delete.add_argument("node")
    delete.add_argument("pod")
    delete.add_argument("--namespace", default="")


def _add_node_commands(node: argparse.ArgumentParser) -> None:
    commands = node.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "add", _node_add, "one more node")
    delete = _add(commands, "del", _node_del, "power a node off and delete its Node object")
    delete.add_argument("node")


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.add_argument("--name", default=os.environ.get("LAB_NAME", "lab"), help="which lab ($LAB_NAME, or lab)")
    parser.set_defaults(run=run)
    return parser
