"""What becomes of a document before it is stored: exactly what Calico's client made of the same one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from datastore.admission import admitted
from datastore.schema import table_of
from datastore.schema.reading import canonical
from datastore.store import Rejected
from datastore.validate.pool_change import completed
from tests.unit.datastore.test_schema import STORED, called


def without_system_metadata(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in document["metadata"].items() if key not in ("uid", "creationTimestamp")}
    return {**document, "metadata": metadata}


@pytest.mark.parametrize("stored", STORED, ids=called)
def test_admitting_what_was_admitted_changes_nothing(stored: dict[str, Any]) -> None:
    document = without_system_metadata(stored)
    whole = completed(document) if document["kind"] == "IPPool" else document
    assert json.dumps(admitted(whole)) == json.dumps(document)


def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    whole = {"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": {"name": name}, "spec": spec}
    return canonical(table_of(kind), whole)


def test_a_policy_without_types_is_about_what_it_has_rules_for() -> None:
    def types(**rules: Any) -> Any:
        return admitted(document("GlobalNetworkPolicy", "p", **rules))["spec"]["types"]

    allow = [{"action": "Allow"}]
    assert types() == ["Ingress"]
    assert types(ingress=allow) == ["Ingress"]
    assert types(egress=allow) == ["Egress"]
    assert types(ingress=allow, egress=allow) == ["Ingress", "Egress"]


def test_a_workload_endpoints_name_follows_from_what_it_is_of() -> None:
    spec = {"node": "node-1", "orchestrator": "k8s", "pod": "web-0", "endpoint": "eth0", "interfaceName": "cali1"}
    made = admitted(document("WorkloadEndpoint", "", **spec))
    assert made["metadata"]["name"] == "node--1-k8s-web--0-eth0"
    with pytest.raises(Rejected, match="expected name node--1-k8s-web--0-eth0"):
        admitted(document("WorkloadEndpoint", "another", **spec))


def test_what_is_of_the_whole_cluster_is_in_default_only() -> None:
    with pytest.raises(Rejected, match="Cannot set nodeToNodeMeshEnabled on a non default BGP Configuration"):
        admitted(document("BGPConfiguration", "node.node1", nodeToNodeMeshEnabled=False))
    with pytest.raises(Rejected, match='with a name other than "default"'):
        admitted(document("IPAMConfiguration", "other"))
