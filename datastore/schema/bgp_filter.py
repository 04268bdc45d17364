"""BGPFilter: which routes a peer is told and believed. Source: Calico api v3 bgpfilter.go."""

from __future__ import annotations

from datastore.schema.metadata import document
from datastore.schema.notation import always, as_number, each, enum, filled, given, number, struct, text

_16_BITS = "([0-9]|[1-9][0-9]{1,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_32_BITS = (
    "([0-9]|[1-9][0-9]{1,8}|[1-3][0-9]{9}|4[0-1][0-9]{8}|42[0-8][0-9]{7}|429[0-3][0-9]{6}|4294[0-8][0-9]{5}"
    "|42949[0-5][0-9]{4}|429496[0-6][0-9]{3}|4294967[0-1][0-9]{2}|42949672[0-8][0-9]|429496729[0-5])"
)
community = text(
    "v3.BGPCommunityValue",
    longest=32,
    pattern=f"^({_16_BITS}:{_16_BITS}|{_32_BITS}:{_32_BITS}:{_32_BITS})$",
)

BGPFilterPrefixLengthV4 = struct(
    "v3.BGPFilterPrefixLengthV4",
    given("min", number("int32", low=0, high=32), check="omitempty,bgpFilterPrefixLengthV4"),
    given("max", number("int32", low=0, high=32), check="omitempty,bgpFilterPrefixLengthV4"),
)
BGPFilterCommunityMatch = struct(
    "v3.BGPFilterCommunityMatch",
    always(
        "values",
        each(
            community,
            least=1,
            most=1,
        ),
        check="required",
    ),
)
BGPFilterAddCommunity = struct(
    "v3.BGPFilterAddCommunity",
    given("value", community, check="required", is_required=True),
)
BGPFilterPrependASPath = struct(
    "v3.BGPFilterPrependASPath",
    always("prefix", each(as_number, least=1, most=10), check="required"),
)
BGPFilterSetPriority = struct(
    "v3.BGPFilterSetPriority",
    given("value", number(low=1, high=2147483646), check="required,gte=1,lte=2147483646", is_required=True),
)
BGPFilterOperation = struct(
    "v3.BGPFilterOperation",
    given("addCommunity", BGPFilterAddCommunity),
    given("prependASPath", BGPFilterPrependASPath),
    given("setPriority", BGPFilterSetPriority),
    least=1,
    most=1,
)
BGPFilterRuleV4 = struct(
    "v3.BGPFilterRuleV4",
    filled("cidr", text(form="cidr", longest=18), go="CIDR", check="omitempty,netv4"),
    given("prefixLength", BGPFilterPrefixLengthV4),
    filled("source", enum("v3.BGPFilterMatchSource", "RemotePeers"), check="omitempty,oneof=RemotePeers"),
    filled("interface", text(longest=15), check="omitempty,bgpFilterInterface"),
    filled("matchOperator", enum("v3.BGPFilterMatchOperator", "Equal", "NotEqual", "In", "NotIn")),
    filled("peerType", enum("v3.BGPFilterPeerType", "eBGP", "iBGP"), check="omitempty,oneof=eBGP iBGP"),
    given("communities", BGPFilterCommunityMatch),
    filled("asPathPrefix", each(as_number), go="ASPathPrefix"),
    given("priority", number(low=1, high=2147483646), check="omitempty,gte=1,lte=2147483646"),
    always("action", enum("v3.BGPFilterAction", "Accept", "Reject"), check="required"),
    filled("operations", each(BGPFilterOperation, least=1, most=10), check="omitempty,dive"),
)
BGPFilterPrefixLengthV6 = struct(
    "v3.BGPFilterPrefixLengthV6",
    given("min", number("int32", low=0, high=128), check="omitempty,bgpFilterPrefixLengthV6"),
    given("max", number("int32", low=0, high=128), check="omitempty,bgpFilterPrefixLengthV6"),
)
BGPFilterRuleV6 = struct(
    "v3.BGPFilterRuleV6",
    filled("cidr", text(form="cidr", longest=43), go="CIDR", check="omitempty,netv6"),
    given("prefixLength", BGPFilterPrefixLengthV6),
    filled("source", enum("v3.BGPFilterMatchSource", "RemotePeers"), check="omitempty,oneof=RemotePeers"),
    filled("interface", text(longest=15), check="omitempty,bgpFilterInterface"),
    filled("matchOperator", enum("v3.BGPFilterMatchOperator", "Equal", "NotEqual", "In", "NotIn")),
    filled("peerType", enum("v3.BGPFilterPeerType", "eBGP", "iBGP"), check="omitempty,oneof=eBGP iBGP"),
    given("communities", BGPFilterCommunityMatch),
    filled("asPathPrefix", each(as_number), go="ASPathPrefix"),
    given("priority", number(low=1, high=2147483646), check="omitempty,gte=1,lte=2147483646"),
    always("action", enum("v3.BGPFilterAction", "Accept", "Reject"), check="required"),
    filled("operations", each(BGPFilterOperation, least=1, most=10), check="omitempty,dive"),
)
BGPFilterSpec = struct(
    "v3.BGPFilterSpec",
    filled("exportV4", each(BGPFilterRuleV4), check="omitempty,dive"),
    filled("importV4", each(BGPFilterRuleV4), check="omitempty,dive"),
    filled("exportV6", each(BGPFilterRuleV6), check="omitempty,dive"),
    filled("importV6", each(BGPFilterRuleV6), check="omitempty,dive"),
)
BGPFilter = document("v3.BGPFilter", always("spec", BGPFilterSpec))
