"""flanneld's command line and environment, as Go's package flag reads them. Pure.

One dash or two; ``-flag value`` or ``-flag=value``; a truth is ``-flag`` or ``-flag=false``. Every flag is also a
variable, FLANNELD_ and its name in capitals; the command line wins, and a variable that cannot be read is only told.

Source: Go flag; flannel main.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_LEAST_MARGIN, _MOST_MARGIN = 1, 1439


class BadFlags(Exception):
    """The user's mistake, in Go's words."""


class HelpAsked(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Flags:
    """Names are the flags' own, with underscores. Times are in the units that the flags have."""

    etcd_endpoints: str = "http://127.0.0.1:4001,http://127.0.0.1:2379"
    etcd_prefix: str = "/coreos.com/network"
    etcd_keyfile: str = ""
    etcd_certfile: str = ""
    etcd_cafile: str = ""
    etcd_username: str = ""
    etcd_password: str = ""
    iface: tuple[str, ...] = ()
    iface_regex: tuple[str, ...] = ()
    iface_can_reach: str = ""
    subnet_file: str = "/run/flannel/subnet.env"
    public_ip: str = ""
    public_ipv6: str = ""
    subnet_lease_renew_margin: int = 60
    ip_masq: bool = False
    ip_masq_fully_random_disable: bool = False
    kube_subnet_mgr: bool = False
    kube_api_url: str = ""
    kubeconfig_file: str = ""
    kube_annotation_prefix: str = "flannel.alpha.coreos.com"
    net_config_path: str = "/etc/kube-flannel/net-conf.json"
    set_node_network_unavailable: bool = True
    healthz_ip: str = "0.0.0.0"
    healthz_port: int = 0
    iptables_resync: int = 5
    iptables_forward_rules: bool = True
    ip_blackhole_route: bool = False
    version: bool = False
    v: str = "0"
    vmodule: str = ""
    log_backtrace_at: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """``troubles``: variables that could not be read."""

    flags: Flags
    troubles: tuple[str, ...] = field(default=())


_DEFAULTS = Flags()
_HELP = {
    "etcd_endpoints": "a comma-delimited list of etcd endpoints",
    "etcd_prefix": "etcd prefix",
    "etcd_keyfile": "SSL key file used to secure etcd communication",
    "etcd_certfile": "SSL certification file used to secure etcd communication",
    "etcd_cafile": "SSL Certificate Authority file used to secure etcd communication",
    "etcd_username": "username for BasicAuth to etcd",
    "etcd_password": "password for BasicAuth to etcd",
    "iface": "device to reach other nodes by, its name or address; may be repeated, the first match counts",
    "iface_regex": "regular expression for its address or name; may be repeated, used when no iface matches",
    "iface_can_reach": "use the device by which this address is reached",
    "subnet_file": "where to write this node's subnet and MTU",
    "public_ip": "IPv4 address that other nodes reach this one by",
    "public_ipv6": "IPv6 address that other nodes reach this one by",
    "subnet_lease_renew_margin": "renew a lease so many minutes before it ends, 1 to 1439",
    "ip_masq": "masquerade what leaves the flannel network",
    "ip_masq_fully_random_disable": "choose masquerading's ports without --random-fully",
    "kube_subnet_mgr": "ask the Kubernetes API for subnets instead of etcd",
    "kube_api_url": "Kubernetes API server; of use with --kube-subnet-mgr",
    "kubeconfig_file": "kubeconfig file; of use with --kube-subnet-mgr",
    "kube_annotation_prefix": "prefix of annotations, with at most one slash",
    "net_config_path": "network configuration file",
    "set_node_network_unavailable": "set the node's condition NetworkUnavailable",
    "healthz_ip": "address that /healthz is served at",
    "healthz_port": "port that /healthz is served at, 0 for none",
    "iptables_resync": "seconds between looks at the packet filter's rules",
    "iptables_forward_rules": "accept what is forwarded from and to the flannel network",
    "ip_blackhole_route": "drop what is sent to addresses of this node's subnet that no pod has",
    "version": "print version and exit",
    "v": "log level",
    "vmodule": "log levels by file",
    "log_backtrace_at": "where to log a stack trace",
}


def read(words: Sequence[str], environ: Mapping[str, str]) -> Read:
    """Raises BadFlags, HelpAsked."""
    given = _given(words)
    flags, troubles = _from_environment(environ, set(given))
    flags = replace(flags, **given)
    if not _LEAST_MARGIN <= flags.subnet_lease_renew_margin <= _MOST_MARGIN:
        why = "Invalid subnet-lease-renew-margin option, out of acceptable range"
        raise BadFlags(f"{why} ({_LEAST_MARGIN} to {_MOST_MARGIN} minutes)")
    return Read(flags, tuple(troubles))


def usage() -> str:
    lines = ["Usage: flanneld [OPTION]..."]
    for name, text in _HELP.items():
        default = getattr(_DEFAULTS, name)
        told = f" (default {default})" if default not in ("", (), False, "0") else ""
        lines.append(f"  -{_dashed(name)}\n    \t{text}{told}")
    return "".join(f"{line}\n" for line in lines)


def _given(words: Sequence[str]) -> dict[str, Any]:
    """What the command line says, up to the first word that is no flag."""
    found: dict[str, Any] = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        word = rest.pop(0)
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name in ("h", "help"):
            raise HelpAsked
        attribute = _BY_NAME.get(name)
        if attribute is None:
            raise BadFlags(f"flag provided but not defined: -{name}" if name else f"bad flag syntax: {word}")
        if not equals and isinstance(getattr(_DEFAULTS, attribute), bool):
            value = "true"
        elif not equals:
            if not rest:
                raise BadFlags(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        found[attribute] = _value(attribute, value, found.get(attribute, ()))
    return found


def _from_environment(environ: Mapping[str, str], but: set[str]) -> tuple[Flags, list[str]]:
    flags, troubles = Flags(), []
    for name in _HELP:
        variable = f"FLANNELD_{name.upper()}"
        if name in but or not environ.get(variable):
            continue
        try:
            flags = replace(flags, **{name: _value(name, environ[variable], ())})
        except BadFlags as error:
            troubles.append(f"{variable}: {error}")
    return flags, troubles


def _value(name: str, text: str, before: tuple[str, ...]) -> Any:
    read_as: Callable[[str], Any] = _READERS.get(type(getattr(_DEFAULTS, name)), str)
    if read_as is tuple:
        return (*before, text)
    try:
        return read_as(text)
    except ValueError:
        kind = "boolean value" if read_as is _truth else "value"
        raise BadFlags(f'invalid {kind} "{text}" for flag -{_dashed(name)}: parse error') from None


def _truth(text: str) -> bool:
    if text not in _TRUE + _FALSE:
        raise ValueError(text)
    return text in _TRUE


_READERS: Mapping[type, Callable[[str], Any]] = {bool: _truth, int: lambda text: int(text, 0), tuple: tuple}


def _dashed(name: str) -> str:
    return name if name == "log_backtrace_at" else name.replace("_", "-")


_BY_NAME = {_dashed(name): name for name in _HELP}
