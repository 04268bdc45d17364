"""WorkloadEndpoint and HostEndpoint: interfaces that traffic enters by.

Source: Calico internalapi/workloadendpoint.go, api v3 hostendpoint.go.
"""

from __future__ import annotations

from datastore.schema.metadata import document
from datastore.schema.notation import always, dscp, each, filled, given, number, protocol, string, struct, text
from datastore.schema.rules import EndpointPort

IPNAT = struct(
    "internalapi.IPNAT",
    always("internalIP", string, check="omitempty,ip"),
    always("externalIP", string, check="omitempty,ip"),
)
WorkloadEndpointPort = struct(
    "internalapi.WorkloadEndpointPort",
    always("name", string, check="omitempty,portName"),
    always("protocol", protocol),
    always("port", number("uint16"), check="gt=0"),
    always("hostPort", number("uint16")),
    always("hostIP", string, check="omitempty,net"),
)
QoSControls = struct(
    "internalapi.QoSControls",
    filled("ingressBandwidth", number("int64")),
    filled("ingressBurst", number("int64")),
    filled("ingressPeakrate", number("int64")),
    filled("ingressMinburst", number("int64")),
    filled("egressBandwidth", number("int64")),
    filled("egressBurst", number("int64")),
    filled("egressPeakrate", number("int64")),
    filled("egressMinburst", number("int64")),
    filled("ingressPacketRate", number("int64")),
    filled("ingressPacketBurst", number("int64")),
    filled("egressPacketRate", number("int64")),
    filled("egressPacketBurst", number("int64")),
    filled("ingressMaxConnections", number("int64")),
    filled("egressMaxConnections", number("int64")),
    given("dscp", dscp, go="DSCP"),
)
WorkloadEndpointSpec = struct(
    "internalapi.WorkloadEndpointSpec",
    filled("orchestrator", string, check="omitempty,name"),
    filled("workload", string, check="omitempty,name"),
    filled("node", string, check="omitempty,name"),
    filled("containerID", string, check="omitempty,containerID"),
    filled("pod", string, check="omitempty,name"),
    filled("endpoint", string, check="omitempty,name"),
    filled("serviceAccountName", string, check="omitempty,name"),
    filled("ipNetworks", each(string), go="IPNetworks", check="omitempty,dive,net"),
    filled("ipNATs", each(IPNAT), go="IPNATs", check="omitempty,dive"),
    filled("ipv4Gateway", string, go="IPv4Gateway", check="omitempty,ipv4"),
    filled("ipv6Gateway", string, go="IPv6Gateway", check="omitempty,ipv6"),
    filled("profiles", each(string), check="omitempty,dive,name"),
    filled("interfaceName", string, check="interface"),
    filled("mac", string, go="MAC", check="omitempty,mac"),
    filled("ports", each(WorkloadEndpointPort), check="dive,omitempty"),
    filled("allowSpoofedSourcePrefixes", each(string), check="omitempty,dive,cidr"),
    given("qosControls", QoSControls, go="QoSControls"),
)
WorkloadEndpoint = document("internalapi.WorkloadEndpoint", always("spec", WorkloadEndpointSpec))
HostEndpointSpec = struct(
    "v3.HostEndpointSpec",
    filled("node", text(longest=253), check="omitempty,name"),
    filled("interfaceName", text(longest=15), check="omitempty,interface"),
    filled("expectedIPs", each(string), check="omitempty,dive,ip"),
    filled("profiles", each(string), check="omitempty,dive,name"),
    filled("ports", each(EndpointPort), check="dive"),
)
HostEndpoint = document("v3.HostEndpoint", always("spec", HostEndpointSpec))
