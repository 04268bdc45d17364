"""One rule of a policy, and whom it speaks of. Source: Calico api v3 policy_common.go."""

from __future__ import annotations

from datastore.schema.notation import (
    always,
    each,
    enum,
    filled,
    given,
    mapping,
    number,
    port,
    protocol,
    string,
    struct,
    text,
)

ICMPFields = struct(
    "v3.ICMPFields",
    given("type", number(low=0, high=254), check="omitempty,gte=0,lte=254"),
    given("code", number(low=0, high=255), check="omitempty,gte=0,lte=255"),
)
ServiceMatch = struct(
    "v3.ServiceMatch",
    filled("name", text(longest=253), check="omitempty,name"),
    filled("namespace", text(longest=253), check="omitempty,name"),
)
ServiceAccountMatch = struct(
    "v3.ServiceAccountMatch",
    filled("names", each(string)),
    filled("selector", string, check="omitempty,selector"),
)
EntityRule = struct(
    "v3.EntityRule",
    filled("nets", each(string, most=256), check="omitempty,dive,net"),
    filled("selector", text(longest=1024), check="omitempty,selector"),
    filled("namespaceSelector", text(longest=1024), check="omitempty,selector"),
    given("services", ServiceMatch),
    filled("ports", each(port, most=50), check="omitempty,dive"),
    filled("notNets", each(string, most=256), check="omitempty,dive,net"),
    filled("notSelector", text(longest=1024), check="omitempty,selector"),
    filled("notPorts", each(port, most=50), check="omitempty,dive"),
    given("serviceAccounts", ServiceAccountMatch),
)
HTTPPath = struct(
    "v3.HTTPPath",
    filled("exact", text(longest=1024)),
    filled("prefix", text(longest=1024)),
)
HTTPMatch = struct(
    "v3.HTTPMatch",
    filled("methods", each(string, most=20)),
    filled("paths", each(HTTPPath, most=20)),
)
RuleMetadata = struct(
    "v3.RuleMetadata",
    filled("annotations", mapping(string)),
)
Rule = struct(
    "v3.Rule",
    always("action", enum("v3.Action", "Allow", "Deny", "Log", "Pass")),
    given("ipVersion", number(allowed=(4, 6)), go="IPVersion"),
    given("protocol", protocol),
    given("icmp", ICMPFields, go="ICMP"),
    given("notProtocol", protocol),
    given("notICMP", ICMPFields),
    filled("source", EntityRule),
    filled("destination", EntityRule),
    given("http", HTTPMatch, go="HTTP"),
    given("metadata", RuleMetadata),
)
EndpointPort = struct(
    "v3.EndpointPort",
    always("name", string, check="portName"),
    always("protocol", protocol),
    always("port", number("uint16", low=1, high=65535), check="gt=0"),
)
