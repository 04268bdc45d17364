"""Node and CalicoNodeStatus. Source: Calico internalapi/node.go, api v3 nodestatus.go."""

from __future__ import annotations

from datastore.schema.metadata import document
from datastore.schema.notation import always, as_number, each, enum, filled, given, number, string, struct, time

NodeBGPSpec = struct(
    "internalapi.NodeBGPSpec",
    given("asNumber", as_number, go="ASNumber"),
    filled("ipv4Address", string, go="IPv4Address", check="omitempty,cidrv4"),
    filled("ipv6Address", string, go="IPv6Address", check="omitempty,cidrv6"),
    filled("ipv4IPIPTunnelAddr", string, go="IPv4IPIPTunnelAddr", check="omitempty,ipv4"),
    filled("routeReflectorClusterID", string, check="omitempty,ipv4"),
)
OrchRef = struct(
    "internalapi.OrchRef",
    filled("nodeName", string),
    always("orchestrator", string),
)
NodeWireguardSpec = struct(
    "internalapi.NodeWireguardSpec",
    filled("interfaceIPv4Address", string, check="omitempty,ipv4"),
    filled("interfaceIPv6Address", string, check="omitempty,ipv6"),
)
NodeAddress = struct(
    "internalapi.NodeAddress",
    always("address", string, check="net"),
    filled("type", string, check="omitempty,ipType"),
)
NodeInterface = struct(
    "internalapi.NodeInterface",
    filled("name", string, check="omitempty,name"),
    filled("addresses", each(string)),
)
NodeSpec = struct(
    "internalapi.NodeSpec",
    given("bgp", NodeBGPSpec, go="BGP"),
    filled("ipv4VXLANTunnelAddr", string, go="IPv4VXLANTunnelAddr", check="omitempty,ipv4"),
    filled("vxlanTunnelMACAddr", string, go="VXLANTunnelMACAddr", check="omitempty,mac"),
    filled("ipv6VXLANTunnelAddr", string, go="IPv6VXLANTunnelAddr", check="omitempty,ipv6"),
    filled("vxlanTunnelMACAddrV6", string, go="VXLANTunnelMACAddrV6", check="omitempty,mac"),
    filled("orchRefs", each(OrchRef)),
    given("wireguard", NodeWireguardSpec),
    filled("addresses", each(NodeAddress)),
    filled("interfaces", each(NodeInterface)),
)
NodeStatus = struct(
    "internalapi.NodeStatus",
    filled("wireguardPublicKey", string, check="omitempty,wireguardPublicKey"),
    filled("wireguardPublicKeyV6", string, check="omitempty,wireguardPublicKey"),
    filled("podCIDRs", each(string)),
)
Node = document("internalapi.Node", always("spec", NodeSpec), always("status", NodeStatus))
CalicoNodeStatusSpec = struct(
    "v3.CalicoNodeStatusSpec",
    filled("node", string, check="required,name"),
    filled("classes", each(enum("v3.NodeStatusClassType", "Agent", "BGP", "Routes")), check="required,unique"),
    given("updatePeriodSeconds", number("uint32"), check="required,gte=0,lte=86400"),
)
BGPDaemonStatus = struct(
    "v3.BGPDaemonStatus",
    filled("state", enum("v3.BGPDaemonState", "Ready", "NotReady")),
    filled("version", string),
    filled("routerID", string),
    filled("lastBootTime", string),
    filled("lastReconfigurationTime", string),
)
CalicoNodeAgentStatus = struct(
    "v3.CalicoNodeAgentStatus",
    always("birdV4", BGPDaemonStatus, go="BIRDV4"),
    always("birdV6", BGPDaemonStatus, go="BIRDV6"),
)
CalicoNodePeer = struct(
    "v3.CalicoNodePeer",
    filled("peerIP", string, check="omitempty,ip"),
    filled("type", enum("v3.BGPPeerType", "NodeMesh", "NodePeer", "GlobalPeer")),
    filled(
        "state",
        enum("v3.BGPSessionState", "Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established", "Close"),
    ),
    filled("since", string),
)
CalicoNodeBGPStatus = struct(
    "v3.CalicoNodeBGPStatus",
    always("numberEstablishedV4", number()),
    always("numberNotEstablishedV4", number()),
    always("numberEstablishedV6", number()),
    always("numberNotEstablishedV6", number()),
    filled("peersV4", each(CalicoNodePeer)),
    filled("peersV6", each(CalicoNodePeer)),
)
CalicoNodeRouteLearnedFrom = struct(
    "v3.CalicoNodeRouteLearnedFrom",
    filled("sourceType", enum("v3.CalicoNodeRouteSourceType", "Kernel", "Static", "Direct", "NodeMesh", "BGPPeer")),
    filled("peerIP", string, check="omitempty,ip"),
)
CalicoNodeRoute = struct(
    "v3.CalicoNodeRoute",
    filled("type", enum("v3.CalicoNodeRouteType", "FIB", "RIB")),
    filled("destination", string),
    filled("gateway", string),
    filled("interface", string),
    always("learnedFrom", CalicoNodeRouteLearnedFrom),
)
CalicoNodeBGPRouteStatus = struct(
    "v3.CalicoNodeBGPRouteStatus",
    filled("routesV4", each(CalicoNodeRoute)),
    filled("routesV6", each(CalicoNodeRoute)),
)
CalicoNodeStatusStatus = struct(
    "v3.CalicoNodeStatusStatus",
    always("lastUpdated", time),
    always("agent", CalicoNodeAgentStatus),
    always("bgp", CalicoNodeBGPStatus, go="BGP"),
    always("routes", CalicoNodeBGPRouteStatus),
)
CalicoNodeStatus = document(
    "v3.CalicoNodeStatus", always("spec", CalicoNodeStatusSpec), always("status", CalicoNodeStatusStatus)
)
