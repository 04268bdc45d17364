"""BGPConfiguration and BGPPeer: who speaks BGP with whom, and how. Source: Calico api v3 bgpconfig.go, bgppeer.go."""

from __future__ import annotations

from datastore.schema.metadata import document
from datastore.schema.notation import (
    always,
    as_number,
    boolean,
    each,
    enum,
    filled,
    free_duration,
    given,
    number,
    string,
    struct,
    text,
    words,
)

ServiceLoadBalancerIPBlock = struct(
    "v3.ServiceLoadBalancerIPBlock",
    filled("cidr", text(form="cidr"), go="CIDR", check="omitempty,net"),
)
ServiceExternalIPBlock = struct(
    "v3.ServiceExternalIPBlock",
    filled("cidr", text(form="cidr"), go="CIDR", check="omitempty,net"),
)
ServiceClusterIPBlock = struct(
    "v3.ServiceClusterIPBlock",
    filled("cidr", text(form="cidr"), go="CIDR", check="omitempty,net"),
)
Community = struct(
    "v3.Community",
    filled("name", text(longest=253), check="required,name"),
    filled("value", text(longest=40, pattern=r"^(\d+):(\d+)$|^(\d+):(\d+):(\d+)$"), check="required"),
)
PrefixAdvertisement = struct(
    "v3.PrefixAdvertisement",
    filled("cidr", text(form="cidr"), go="CIDR", check="required,net"),
    filled("communities", each(string, most=50), check="required"),
)
SecretKeySelector = struct(
    "v1.SecretKeySelector",
    filled("name", string),
    always("key", string),
    given("optional", boolean),
)
BGPPassword = struct(
    "v3.BGPPassword",
    given("secretKeyRef", SecretKeySelector),
)
BGPConfigurationSpec = struct(
    "v3.BGPConfigurationSpec",
    filled("logSeverityScreen", words("Trace", "Debug", "Info", "Warning", "Error", "Fatal"), default="Info"),
    given("nodeToNodeMeshEnabled", boolean),
    given("asNumber", as_number, go="ASNumber"),
    filled("serviceLoadBalancerIPs", each(ServiceLoadBalancerIPBlock), check="omitempty,dive"),
    filled("serviceExternalIPs", each(ServiceExternalIPBlock), check="omitempty,dive"),
    filled("serviceClusterIPs", each(ServiceClusterIPBlock), check="omitempty,dive"),
    given(
        "serviceLoadBalancerAggregation",
        enum("v3.ServiceLoadBalancerAggregation", "Enabled", "Disabled"),
        default="Enabled",
    ),
    filled("communities", each(Community, most=500), check="omitempty,dive"),
    filled("prefixAdvertisements", each(PrefixAdvertisement, most=500), check="omitempty,dive"),
    filled("listenPort", number("uint16", low=1, high=65535), check="omitempty,gt=0"),
    given("nodeMeshPassword", BGPPassword),
    given("nodeMeshMaxRestartTime", free_duration),
    given("bindMode", enum("v3.BindMode", "None", "NodeIP")),
    filled("ignoredInterfaces", each(string), check="omitempty,dive,ignoredInterface"),
    filled("localWorkloadPeeringIPV4", string, check="omitempty,ipv4"),
    filled("localWorkloadPeeringIPV6", string, check="omitempty,ipv6"),
    given("programClusterRoutes", enum("string", "Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly")),
    given(
        "ipv4NormalRoutePriority",
        number(low=1, high=2147483646),
        go="IPv4NormalRoutePriority",
        check="omitempty,gte=1,lte=2147483646",
    ),
    given(
        "ipv6NormalRoutePriority",
        number(low=1, high=2147483646),
        go="IPv6NormalRoutePriority",
        check="omitempty,gte=1,lte=2147483646",
    ),
)
BGPConfiguration = document("v3.BGPConfiguration", always("spec", BGPConfigurationSpec))
BGPPeerSpec = struct(
    "v3.BGPPeerSpec",
    filled("node", text(longest=253), check="omitempty,name"),
    filled("nodeSelector", text(longest=1024), check="omitempty,selector"),
    filled("peerIP", text(longest=64), check="omitempty,IP:port"),
    filled("asNumber", as_number, go="ASNumber"),
    given("localASNumber", as_number),
    filled("peerSelector", text(longest=1024), check="omitempty,selector"),
    filled("keepOriginalNextHop", boolean),
    given("nextHopMode", enum("v3.NextHopMode", "Auto", "Self", "Keep")),
    given("password", BGPPassword),
    filled("sourceAddress", enum("v3.SourceAddress", "UseNodeIP", "None")),
    given("maxRestartTime", free_duration),
    given("keepaliveTime", free_duration),
    given("numAllowedLocalASNumbers", number("int32")),
    given("ttlSecurity", number("uint8"), go="TTLSecurity"),
    filled("reachableBy", text(longest=64), check="omitempty,reachableBy"),
    filled("filters", each(string), check="omitempty,dive,name"),
    filled("localWorkloadSelector", text(longest=1024), check="omitempty,selector"),
    given("reversePeering", enum("v3.ReversePeering", "Auto", "Manual", narrower=("Auto", "Manual"))),
    given("failureDetectionMode", enum("v3.FailureDetectionMode", "None", "BFDIfDirectlyConnected")),
)
BGPPeer = document("v3.BGPPeer", always("spec", BGPPeerSpec))
