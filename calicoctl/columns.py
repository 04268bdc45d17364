"""Which columns ``get`` shows of each kind, and what stands in them. Pure.

A cell is what Go's templates print of a field: ``<nil>`` for one that is not there but could be, ``1e+06`` for a large
order. Source: Calico calicoctl/resourcemgr, one file a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from calicoctl.failure import Failure
from datastore.resource import Resource

LONGEST_LIST = 80
DEFAULT_AS_NUMBER = "64512"


class Row(NamedTuple):
    """One object to show. ``as_number`` is that of nodes without one of their own."""

    resource: Resource
    as_number: str = DEFAULT_AS_NUMBER

    def at(self, path: str) -> Any:
        """The value at ``bgp.asNumber`` of the spec; None where there is none."""
        here: Any = self.resource.spec
        for step in path.split("."):
            here = here.get(step) if isinstance(here, Mapping) else None
        return here


Cell = Callable[[Row], str]


class Columns(NamedTuple):
    """``cells`` may have more headings than are shown unasked."""

    narrow: tuple[str, ...]
    wide: tuple[str, ...]
    cells: Mapping[str, Cell]


def columns_of(kind: str) -> Columns:
    return _COLUMNS[kind]


def headings_for(kind: str, *, wanted: tuple[str, ...], is_wide: bool, with_namespace: bool) -> tuple[str, ...]:
    """The headings to show; ``wanted`` are those that were asked for by name. Raises Failure for an unknown one."""
    columns = columns_of(kind)
    shown = wanted or (columns.wide if is_wide else columns.narrow)
    for heading in shown:
        if heading not in columns.cells:
            raise Failure(f"unknown heading {heading}, valid values are: {', '.join(columns.cells)}")
    return ("NAMESPACE", *shown) if with_namespace and "NAMESPACE" in columns.cells else shown


def rows_of(kind: str, headings: Iterable[str], rows: Iterable[Row]) -> list[list[str]]:
    cells = [columns_of(kind).cells[heading] for heading in headings]
    return [[cell(row) for cell in cells] for row in rows]


# --- cells --------------------------------------------------------------------------------------------------------


def _name(row: Row) -> str:
    return row.resource.name


def _namespace(row: Row) -> str:
    return row.resource.namespace


def _text(path: str, default: str = "") -> Cell:
    return lambda row: _printed(row.at(path) or default)


def _pointer(path: str, default: str = "<nil>") -> Cell:
    """A field that may be unset, which is not the same as zero."""
    return lambda row: default if row.at(path) is None else _printed(row.at(path))


def _flag(path: str) -> Cell:
    return lambda row: _printed(row.at(path) or False)


def _number(path: str) -> Cell:
    return lambda row: _printed(row.at(path) or 0)


def _order(row: Row) -> str:
    from datastore.schema.go_text import decimal_text

    order = row.at("order")
    return "<nil>" if order is None else decimal_text(order)


def _count(path: str) -> Cell:
    return lambda row: str(len(row.at(path) or ()))


def _list(path: str, longest: int = 0) -> Cell:
    return lambda row: joined(row.at(path), ",", longest)


def joined(values: Any, separator: str, longest: int = 0) -> str:
    """A list, or ``key=value`` of an object in order of its keys; cut off with three dots beyond ``longest``."""
    if isinstance(values, Mapping):
        values = sorted(f"{key}={_printed(value)}" for key, value in values.items())
    if not isinstance(values, list):
        values = [] if values is None else [values]
    text = separator.join(map(_printed, values))
    return f"{text[: longest - 3]}..." if longest and len(text) > longest else text


def _printed(value: Any) -> str:
    if isinstance(value, str):
        return value
    from datastore.schema.go_text import value_text

    return value_text(value)


def _peer_node(row: Row) -> str:
    return str(row.at("node") or row.at("nodeSelector") or "(global)")


def _as_number(row: Row) -> str:
    """In brackets where it is the cluster's; nothing for a node that does not speak BGP."""
    if row.at("bgp") is None:
        return ""
    own = row.at("bgp.asNumber")
    return f"({row.as_number})" if own is None else str(own)


def _workload(row: Row) -> str:
    return str(row.at("workload") or row.at("pod") or "")


def _nats(row: Row) -> str:
    return ",".join(f"{{{nat.get('internalIP', '')} {nat.get('externalIP', '')}}}" for nat in row.at("ipNATs") or ())


def _pod_selector(row: Row) -> str:
    """As kubectl shows it; upstream's template fails here."""
    selector = row.at("podSelector") or {}
    labels = [f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items())]
    return ",".join([*labels, *map(_requirement, selector.get("matchExpressions", ()))]) or "<none>"


def _requirement(expression: Mapping[str, Any]) -> str:
    key, operator, values = expression["key"], expression["operator"], ",".join(expression.get("values", ()))
    match operator:
        case "Exists":
            return str(key)
        case "DoesNotExist":
            return f"!{key}"
        case _:
            return f"{key} {operator.lower()} ({values})"


# --- the kinds ----------------------------------------------------------------------------------------------------


def _columns(narrow: str, wide: str = "", **cells: Cell) -> Columns:
    every = {"NAME": _name, **cells}
    return Columns(tuple(narrow.split()), tuple((wide or narrow).split()), every)


_policy = _columns(
    "NAME TIER", "NAME TIER ORDER SELECTOR", ORDER=_order, SELECTOR=_text("selector"), TIER=_text("tier")
)
_namespaced_policy = _policy._replace(cells={**_policy.cells, "NAMESPACE": _namespace})
_nets = {"NETS": _list("nets", LONGEST_LIST)}

_COLUMNS = {
    "BGPConfiguration": _columns(
        "NAME LOGSEVERITY MESHENABLED ASNUMBER",
        LOGSEVERITY=_text("logSeverityScreen"),
        MESHENABLED=_pointer("nodeToNodeMeshEnabled", "-"),
        ASNUMBER=_pointer("asNumber", "-"),
    ),
    "BGPFilter": _columns(
        "NAME NUMEXPORTV4 NUMIMPORTV4 NUMEXPORTV6 NUMIMPORTV6",
        NUMEXPORTV4=_count("exportV4"),
        NUMIMPORTV4=_count("importV4"),
        NUMEXPORTV6=_count("exportV6"),
        NUMIMPORTV6=_count("importV6"),
    ),
    "BGPPeer": _columns("NAME PEERIP NODE ASN", PEERIP=_text("peerIP"), NODE=_peer_node, ASN=_number("asNumber")),
    "CalicoNodeStatus": _columns("NAME NODE", "NAME NODE CLASSES", NODE=_text("node"), CLASSES=_list("classes")),
    "ClusterInformation": _columns(
        "NAME CLUSTERGUID CLUSTERTYPE CALICOVERSION DATASTOREREADY",
        CLUSTERGUID=_text("clusterGUID"),
        CLUSTERTYPE=_text("clusterType"),
        CALICOVERSION=_text("calicoVersion"),
        DATASTOREREADY=_pointer("datastoreReady"),
    ),
    "FelixConfiguration": _columns("NAME"),
    "GlobalNetworkPolicy": _policy,
    "GlobalNetworkSet": _columns("NAME", "NAME NETS", **_nets),
    "HostEndpoint": _columns(
        "NAME NODE",
        "NAME NODE INTERFACE IPS PROFILES",
        NODE=_text("node"),
        INTERFACE=_text("interfaceName"),
        IPS=_list("expectedIPs"),
        PROFILES=_list("profiles"),
    ),
    "IPAMConfiguration": _columns(
        "NAME STRICTAFFINITY AUTOALLOCATEBLOCKS",
        "NAME STRICTAFFINITY AUTOALLOCATEBLOCKS MAXBLOCKSPERHOST",
        STRICTAFFINITY=_flag("strictAffinity"),
        AUTOALLOCATEBLOCKS=_flag("autoAllocateBlocks"),
        MAXBLOCKSPERHOST=_number("maxBlocksPerHost"),
    ),
    "IPPool": _columns(
        "NAME CIDR SELECTOR",
        "NAME CIDR NAT IPIPMODE VXLANMODE DISABLED DISABLEBGPEXPORT SELECTOR ASSIGNMENTMODE",
        CIDR=_text("cidr"),
        NAT=_flag("natOutgoing"),
        IPIPMODE=_text("ipipMode", "Never"),
        VXLANMODE=_text("vxlanMode", "Never"),
        DISABLED=_flag("disabled"),
        DISABLEBGPEXPORT=_flag("disableBGPExport"),
        SELECTOR=_text("nodeSelector"),
        ASSIGNMENTMODE=_text("assignmentMode"),
    ),
    "IPReservation": _columns("NAME", "NAME CIDRS", CIDRS=_list("reservedCIDRs", LONGEST_LIST)),
    "KubeControllersConfiguration": _columns("NAME"),
    "NetworkPolicy": _namespaced_policy,
    "NetworkSet": _columns("NAME", "NAME NETS", NAMESPACE=_namespace, **_nets),
    "Node": _columns(
        "NAME",
        "NAME ASN IPV4 IPV6",
        ASN=_as_number,
        IPV4=_text("bgp.ipv4Address"),
        IPV6=_text("bgp.ipv6Address"),
    ),
    "Profile": _columns("NAME", "NAME LABELS", LABELS=_list("labelsToApply")),
    "StagedGlobalNetworkPolicy": _policy,
    "StagedKubernetesNetworkPolicy": _columns(
        "NAME", "NAME PODSELECTOR", NAMESPACE=_namespace, PODSELECTOR=_pod_selector
    ),
    "StagedNetworkPolicy": _namespaced_policy,
    "Tier": _columns("NAME ORDER", ORDER=_order),
    "WorkloadEndpoint": _columns(
        "WORKLOAD NODE NETWORKS INTERFACE",
        "NAME WORKLOAD NODE NETWORKS INTERFACE PROFILES NATS",
        NAMESPACE=_namespace,
        NODE=_text("node"),
        ORCHESTRATOR=_text("orchestrator"),
        WORKLOAD=_workload,
        NETWORKS=_list("ipNetworks"),
        NATS=_nats,
        PROFILES=_list("profiles"),
        INTERFACE=_text("interfaceName"),
    ),
}
