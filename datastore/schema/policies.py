"""Network policies and what they stand in or refer to: tiers, profiles, network sets.

Source: Calico api v3 networkpolicy.go, globalnetworkpolicy.go, staged*.go, tier.go, profile.go, *networkset.go.
"""

from __future__ import annotations

from datastore.schema.conditions import Condition
from datastore.schema.metadata import document
from datastore.schema.notation import always, boolean, decimal, each, enum, filled, given, mapping, string, struct, text
from datastore.schema.rules import Rule

_staged_action = filled("stagedAction", enum("v3.StagedAction", "Set", "Delete", "Learn", "Ignore"), default="Set")
_tier = filled("tier", string, check="omitempty,name", default="default")
_order = given("order", decimal)
_ingress = filled("ingress", each(Rule, most=1024), check="omitempty,dive")
_egress = filled("egress", each(Rule, most=1024), check="omitempty,dive")
_selector = filled("selector", text(longest=1024), check="selector")
_types = filled("types", each(enum("v3.PolicyType", "Ingress", "Egress"), least=1, most=2))
_service_accounts = filled("serviceAccountSelector", text(longest=1024), check="selector")
_hints = filled(
    "performanceHints",
    each(enum("v3.PolicyPerformanceHint", "AssumeNeededOnEveryNode")),
    check="omitempty,unique,dive,oneof=AssumeNeededOnEveryNode",
)
_of_namespace = (_tier, _order, _ingress, _egress, _selector, _types, _service_accounts, _hints)
_of_cluster = (
    _tier,
    _order,
    _ingress,
    _egress,
    _selector,
    _types,
    filled("doNotTrack", boolean),
    filled("preDNAT", boolean),
    filled("applyOnForward", boolean),
    _service_accounts,
    filled("namespaceSelector", text(longest=1024), check="selector"),
    _hints,
)

NetworkPolicySpec = struct("v3.NetworkPolicySpec", *_of_namespace)
NetworkPolicy = document("v3.NetworkPolicy", always("spec", NetworkPolicySpec))
GlobalNetworkPolicySpec = struct("v3.GlobalNetworkPolicySpec", *_of_cluster)
GlobalNetworkPolicy = document("v3.GlobalNetworkPolicy", always("spec", GlobalNetworkPolicySpec))
StagedNetworkPolicySpec = struct("v3.StagedNetworkPolicySpec", _staged_action, *_of_namespace)
StagedNetworkPolicy = document("v3.StagedNetworkPolicy", always("spec", StagedNetworkPolicySpec))
StagedGlobalNetworkPolicySpec = struct("v3.StagedGlobalNetworkPolicySpec", _staged_action, *_of_cluster)
StagedGlobalNetworkPolicy = document("v3.StagedGlobalNetworkPolicy", always("spec", StagedGlobalNetworkPolicySpec))

TierSpec = struct(
    "v3.TierSpec",
    given("order", decimal),
    given(
        "defaultAction",
        enum("v3.Action", "Allow", "Deny", "Log", "Pass", narrower=("Pass", "Deny")),
        check="omitempty,oneof=Deny Pass",
        default="Deny",
    ),
)
TierStatus = struct(
    "v3.TierStatus",
    filled("conditions", each(Condition)),
)
Tier = document("v3.Tier", always("spec", TierSpec), always("status", TierStatus))
ProfileSpec = struct(
    "v3.ProfileSpec",
    filled("ingress", each(Rule), check="omitempty,dive"),
    filled("egress", each(Rule), check="omitempty,dive"),
    filled("labelsToApply", mapping(string), check="omitempty,labels"),
)
Profile = document("v3.Profile", always("spec", ProfileSpec))
NetworkSetSpec = struct(
    "v3.NetworkSetSpec",
    filled("nets", each(string), check="omitempty,dive,cidr"),
)
NetworkSet = document("v3.NetworkSet", always("spec", NetworkSetSpec))
GlobalNetworkSetSpec = struct(
    "v3.GlobalNetworkSetSpec",
    filled("nets", each(string), check="omitempty,dive,cidr"),
)
GlobalNetworkSet = document("v3.GlobalNetworkSet", always("spec", GlobalNetworkSetSpec))
