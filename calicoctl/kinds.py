"""The kinds that calicoctl knows, and the words that users call them by. Source: Calico calicoctl/resourcemgr."""

from __future__ import annotations

_ALIASES = {
    "BGPConfiguration": "bgpconfiguration bgpconfigurations bgpconfig bgpconfigs",
    "BGPFilter": "bgpfilter bgpfilters bgpf bgpfs bf bfs",
    "BGPPeer": "bgppeer bgppeers bgpp bgpps bp bps",
    "CalicoNodeStatus": "caliconodestatus caliconodestatuses nodestatus nodestatuses",
    "ClusterInformation": "clusterinformation clusterinformations clusterinfo clusterinfos",
    "FelixConfiguration": "felixconfiguration felixconfigurations felixconfig felixconfigs",
    "GlobalNetworkPolicy": "globalnetworkpolicy globalnetworkpolicies gnp gnps",
    "GlobalNetworkSet": "globalnetworkset globalnetworksets gnetsets",
    "HostEndpoint": "hostendpoint hostendpoints hep heps",
    "IPAMConfiguration": "ipamconfiguration ipamconfigurations ipamconfig ipamconfigs",
    "IPPool": "ippool ippools ipp ipps pool pools",
    "IPReservation": "ipreservation ipreservations reservation reservations",
    "KubeControllersConfiguration": "kubecontrollersconfiguration kubecontrollersconfigurations kubecontrollersconfig"
    " kubecontrollersconfigs",
    "NetworkPolicy": "networkpolicy networkpolicies policy np policies pol pols",
    "NetworkSet": "networkset networksets netsets",
    "Node": "node nodes no nos",
    "Profile": "profile profiles pro pros",
    "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicy stagedglobalnetworkpolicies sgnp sgnps",
    "StagedKubernetesNetworkPolicy": "stagedkubernetesnetworkpolicy stagedkubernetesnetworkpolicies"
    " stagedkubernetespolicy sknp stagedkubernetespolicies skpol skpols",
    "StagedNetworkPolicy": "stagednetworkpolicy stagednetworkpolicies stagedpolicy snp stagedpolicies spol spols",
    "Tier": "tier tiers",
    "WorkloadEndpoint": "workloadendpoint workloadendpoints wep weps",
}
KINDS_OF_USERS = tuple(_ALIASES)
"""IPAM's own records are not among them: users see them through ``ipam show`` and ``ipam check``."""

KIND_BY_ALIAS = {alias: kind for kind, aliases in _ALIASES.items() for alias in aliases.split()}


def kind_called(word: str) -> str | None:
    """The kind that a user means, in whatever case he writes it; None where it is none."""
    return KIND_BY_ALIAS.get(word.lower())
