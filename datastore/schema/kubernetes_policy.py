"""StagedKubernetesNetworkPolicy, and what it takes of Kubernetes' own NetworkPolicy.

Source: Calico api v3 stagedkubernetesnetworkpolicy.go; k8s.io/api networking/v1.
"""

from __future__ import annotations

from datastore.schema.metadata import document
from datastore.schema.notation import (
    always,
    each,
    enum,
    filled,
    given,
    int_or_string,
    mapping,
    number,
    string,
    struct,
    text,
)

LabelSelectorRequirement = struct(
    "v1.LabelSelectorRequirement",
    always("key", string),
    always("operator", text("v1.LabelSelectorOperator")),
    filled("values", each(string)),
)
LabelSelector = struct(
    "v1.LabelSelector",
    filled("matchLabels", mapping(string)),
    filled("matchExpressions", each(LabelSelectorRequirement)),
)
NetworkPolicyPort = struct(
    "v1.NetworkPolicyPort",
    given("protocol", text("v1.Protocol")),
    given("port", int_or_string),
    given("endPort", number("int32")),
)
IPBlock = struct(
    "v1.IPBlock",
    always("cidr", string, go="CIDR"),
    filled("except", each(string)),
)
NetworkPolicyPeer = struct(
    "v1.NetworkPolicyPeer",
    given("podSelector", LabelSelector),
    given("namespaceSelector", LabelSelector),
    given("ipBlock", IPBlock, go="IPBlock"),
)
NetworkPolicyIngressRule = struct(
    "v1.NetworkPolicyIngressRule",
    filled("ports", each(NetworkPolicyPort)),
    filled("from", each(NetworkPolicyPeer)),
)
NetworkPolicyEgressRule = struct(
    "v1.NetworkPolicyEgressRule",
    filled("ports", each(NetworkPolicyPort)),
    filled("to", each(NetworkPolicyPeer)),
)
StagedKubernetesNetworkPolicySpec = struct(
    "v3.StagedKubernetesNetworkPolicySpec",
    filled("stagedAction", enum("v3.StagedAction", "Set", "Delete", "Learn", "Ignore"), default="Set"),
    always("podSelector", LabelSelector),
    filled("ingress", each(NetworkPolicyIngressRule)),
    filled("egress", each(NetworkPolicyEgressRule)),
    filled("policyTypes", each(text("v1.PolicyType"), least=1, most=2)),
)
StagedKubernetesNetworkPolicy = document(
    "v3.StagedKubernetesNetworkPolicy", always("spec", StagedKubernetesNetworkPolicySpec)
)
