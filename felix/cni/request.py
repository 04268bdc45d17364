"""What a runtime asks, read and checked: variables and network configuration into one frozen Request. Pure.

Errors carry the CNI specification's code where it has one, and upstream's 999 for everything that is about addresses
and pods. Unknown keys of the configuration are left alone: runtimes and other plugins put theirs there.
Source: CNI specification 1.1.0; Calico cni-plugin/pkg/types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

Network = IPv4Network | IPv6Network

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


class Code(Enum):
    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    BAD_VARIABLES = 4
    IO_FAILURE = 5
    UNREADABLE = 6
    BAD_CONFIG = 7
    TRY_AGAIN_LATER = 11
    NOT_AVAILABLE = 50
    FAILED = 999


class CniError(Exception):
    """What the runtime is told: a code, and what to do about it."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Command(Enum):
    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    STATUS = "STATUS"
    GC = "GC"
    VERSION = "VERSION"


@dataclass(frozen=True, slots=True)
class Workload:
    """Whose interface it is. ``orchestrator`` is k8s for a pod, cni for any other container."""

    orchestrator: str
    container: str
    interface: str
    namespace: str = "default"
    pod: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.pod}" if self.pod else self.container


@dataclass(frozen=True, slots=True)
class NetConf:
    """The network configuration, as far as it is ours. ``mtu_bytes`` 0: not given.

    ``pools`` are pools by CIDR, ``pool_names`` by name; both empty: the pools that select this node.
    """

    name: str
    version: str = "0.2.0"
    node: str = ""
    mtu_bytes: int = 0
    wants_ipv4: bool = True
    wants_ipv6: bool = False
    pools: tuple[Network, ...] = ()
    pool_names: tuple[str, ...] = ()
    allow_ip_forwarding: bool = False
    previous_result: Mapping[str, Any] | None = None
    valid_attachments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One call. ``netns`` is the path that the runtime gave, for the result; the descriptor came beside it."""

    command: Command
    conf: NetConf
    workload: Workload = field(default_factory=lambda: Workload("cni", "", ""))
    netns: str = ""
    address: str = ""


_REQUIRED = {
    Command.ADD: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    Command.CHECK: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    Command.DEL: ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
    Command.GC: ("CNI_PATH",),
    Command.STATUS: (),
    Command.VERSION: (),
}
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*\Z")
_SUPPORTED_SINCE = {Command.STATUS: (1, 1), Command.GC: (1, 1), Command.CHECK: (0, 4)}


def read(variables: Mapping[str, str], stdin: bytes) -> Request:
    """Raises CniError."""
    command = _command(variables)
    missing = [name for name in _REQUIRED[command] if not variables.get(name)]
    if missing:
        raise CniError(Code.BAD_VARIABLES, f"required env variables [{','.join(missing)}] missing")
    conf = read_conf(stdin)
    if command in _SUPPORTED_SINCE and _numbers(conf.version) < _SUPPORTED_SINCE[command]:
        raise CniError(Code.INCOMPATIBLE_VERSION, f"config version does not allow {command.value}")
    if command in (Command.STATUS, Command.GC, Command.VERSION):
        return Request(command, conf)
    arguments = _arguments(variables.get("CNI_ARGS", ""))
    return Request(
        command, conf, _workload(variables, arguments), variables.get("CNI_NETNS", ""), arguments.get("IP", "")
    )


def _command(variables: Mapping[str, str]) -> Command:
    name = variables.get("CNI_COMMAND", "")
    if not name:
        raise CniError(Code.BAD_VARIABLES, "required env variables [CNI_COMMAND] missing")
    try:
        return Command(name)
    except ValueError:
        raise CniError(Code.BAD_VARIABLES, f"unknown CNI_COMMAND: {name}") from None


def _workload(variables: Mapping[str, str], arguments: Mapping[str, str]) -> Workload:
    container, interface = variables["CNI_CONTAINERID"], variables["CNI_IFNAME"]
    if not _CONTAINER.match(container):
        raise CniError(Code.BAD_VARIABLES, f"invalid characters in containerID: {container!r}")
    if len(interface) > 15 or interface in (".", "..") or re.search(r"[/:\s]", interface):
        raise CniError(Code.BAD_VARIABLES, f"interface name {interface!r} is not one that Linux takes")
    pod, namespace = arguments.get("K8S_POD_NAME", ""), arguments.get("K8S_POD_NAMESPACE", "")
    if pod and namespace:
        return Workload("k8s", container, interface, namespace, pod)
    return Workload("cni", container, interface)


def _arguments(text: str) -> dict[str, str]:
    """``CNI_ARGS``: KEY=VALUE pairs between semicolons."""
    pairs = {}
    for pair in filter(None, text.split(";")):
        key, separator, value = pair.partition("=")
        if not separator:
            raise CniError(Code.BAD_VARIABLES, f"ARGS: invalid pair {pair!r}")
        pairs[key] = value
    return pairs


def read_conf(stdin: bytes) -> NetConf:
    """Raises CniError."""
    try:
        raw = json.loads(stdin)
    except ValueError as error:
        raise CniError(Code.UNREADABLE, f"failed to load netconf: {error}") from None
    if not isinstance(raw, dict):
        raise CniError(Code.UNREADABLE, "failed to load netconf: it is not a JSON object")
    version = raw.get("cniVersion") or "0.2.0"
    if version not in VERSIONS:
        raise CniError(Code.INCOMPATIBLE_VERSION, f"unsupported CNI version {version}")
    if not raw.get("name"):
        raise CniError(Code.BAD_CONFIG, "name: a network must have one")
    ipam = _object(raw, "ipam")
    if ipam.get("type", "calico-ipam") != "calico-ipam":
        raise CniError(Code.BAD_CONFIG, f"ipam.type: {ipam['type']!r} is not supported, only calico-ipam is")
    pools, pool_names = _pools(ipam)
    return NetConf(
        name=str(raw["name"]),
        version=version,
        node=str(raw.get("nodename") or ""),
        mtu_bytes=_mtu(raw.get("mtu") or 0),
        wants_ipv4=ipam.get("assign_ipv4", "true") != "false",
        wants_ipv6=ipam.get("assign_ipv6", "false") == "true",
        pools=pools,
        pool_names=pool_names,
        allow_ip_forwarding=bool(_object(raw, "container_settings").get("allow_ip_forwarding")),
        previous_result=raw.get("prevResult"),
        valid_attachments=_attachments(raw.get("cni.dev/valid-attachments") or []),
    )


def _object(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key) or {}
    if not isinstance(value, dict):
        raise CniError(Code.BAD_CONFIG, f"{key}: must be a JSON object")
    return value


def _mtu(raw: Any) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or (raw and not 68 <= raw <= 65535):
        raise CniError(Code.BAD_CONFIG, f"mtu: must be 0 (automatic) or a number from 68 to 65535, not {raw!r}")
    return raw


def _pools(ipam: Mapping[str, Any]) -> tuple[tuple[Network, ...], tuple[str, ...]]:
    cidrs: list[Network] = []
    by_name: list[str] = []
    for key in ("ipv4_pools", "ipv6_pools"):
        entries = ipam.get(key) or []
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise CniError(Code.BAD_CONFIG, f"ipam.{key}: must be a list of pool names or CIDRs")
        for entry in entries:
            try:
                cidrs.append(ip_network(entry))
            except ValueError:
                by_name.append(entry)
    return tuple(cidrs), tuple(by_name)


def _attachments(raw: Any) -> tuple[tuple[str, str], ...]:
    try:
        return tuple((str(each["containerID"]), str(each["ifname"])) for each in raw)
    except (TypeError, KeyError):
        raise CniError(Code.BAD_CONFIG, "cni.dev/valid-attachments: must be a list of {containerID, ifname}") from None


def _numbers(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)
