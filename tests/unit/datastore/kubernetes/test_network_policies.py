"""What a NetworkPolicy of Kubernetes means in Calico's words."""

from __future__ import annotations

from typing import Any

import pytest

from datastore.kubernetes.network_policies import from_policy

POD = "projectcalico.org/orchestrator == 'k8s'"


def read(**spec: Any) -> Any:
    return from_policy({"metadata": {"name": "p", "namespace": "prod", "resourceVersion": "7"}, "spec": spec})


def rule(**said: Any) -> dict[str, Any]:
    return {"action": "Allow", "source": {}, "destination": {}, **said}


def test_a_policy_of_kubernetes_has_calicos_name_and_order_in_its_default_tier() -> None:
    found = read(podSelector={"matchLabels": {"app": "db"}}, policyTypes=["Egress", "Ingress"])
    assert str(found.key) == "NetworkPolicy(prod/knp.default.p)"
    assert found.revision == "7"
    assert found.spec == {
        "tier": "default",
        "order": 1000,
        "selector": f"{POD} && app == 'db'",
        "types": ["Ingress", "Egress"],
    }


def test_peers_and_protocols_make_a_rule_each() -> None:
    ports = [{"port": 80}, {"port": 81}, {"port": "web"}, {"port": 53, "protocol": "UDP"}]
    peers = [
        {"podSelector": {"matchLabels": {"a": "b"}}},
        {"ipBlock": {"cidr": "10.0.0.1/8", "except": ["10.1.0.0/16"]}},
    ]
    pods, block = {"selector": f"{POD} && a == 'b'"}, {"nets": ["10.0.0.0/8"], "notNets": ["10.1.0.0/16"]}
    tcp, udp = {"ports": ["web", "80:81"]}, {"ports": [53]}
    assert read(ingress=[{"from": peers, "ports": ports}]).spec["ingress"] == [
        rule(protocol="TCP", source=pods, destination=tcp),
        rule(protocol="TCP", source=block, destination=tcp),
        rule(protocol="UDP", source=pods, destination=udp),
        rule(protocol="UDP", source=block, destination=udp),
    ]
    assert read(egress=[{"to": peers[1:], "ports": ports[3:]}]).spec["egress"] == [
        rule(protocol="UDP", destination={**udp, **block})
    ]


def test_nobody_named_is_everybody_and_no_port_is_all_of_them() -> None:
    assert read(ingress=[{}]).spec["ingress"] == [rule()]
    assert read(ingress=[{"ports": [{"port": 80}, {"protocol": "TCP"}]}]).spec["ingress"] == [rule(protocol="TCP")]
    assert read().spec["types"] == ["Ingress"]


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ({}, "all()"),
        ({"matchLabels": {"b": "2", "a": "1"}}, "a == '1' && b == '2'"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}, "a in { 'x', 'y' }"),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, "a not in { 'x' }"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "has(a)"),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, "! has(a)"),
    ],
)
def test_a_selector_of_namespaces_is_said_in_calicos_language(selector: Any, said: str) -> None:
    (found,) = read(ingress=[{"from": [{"namespaceSelector": selector}]}]).spec["ingress"]
    assert found["source"] == {"selector": POD, "namespaceSelector": said}


def test_ports_between_an_end_and_another_are_one_range() -> None:
    ports = [{"port": 80, "endPort": 90}, {"port": 91}, {"port": 443}]
    assert read(ingress=[{"ports": ports}]).spec["ingress"][0]["destination"] == {"ports": ["80:91", 443]}
    assert read(ingress=[{"ports": ports[:1]}]).spec["ingress"][0]["destination"] == {"ports": ["80:90"]}
