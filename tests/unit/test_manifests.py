"""The definitions that users apply are those of the tables, under the names that Calico's have."""

from __future__ import annotations

from pathlib import Path

import pytest

from datastore.kubernetes.groups import Group
from manifests.crds import FILES, definitions, text

MANIFESTS = Path(__file__).parents[2] / "manifests"
DOCUMENTED = """
bgpconfigurations bgppeers blockaffinities clusterinformations felixconfigurations globalnetworkpolicies
globalnetworksets hostendpoints ipamblocks ipamconfigs ipamhandles ippools kubecontrollersconfigurations
networkpolicies networksets
"""


@pytest.mark.parametrize("group", Group)
def test_the_file_is_what_the_tables_say(group: Group) -> None:
    assert (MANIFESTS / FILES[group]).read_text() == text(group), "run: python manifests/crds.py"


def test_the_definitions_that_the_documents_list_are_all_there() -> None:
    names = {each["metadata"]["name"] for each in definitions(Group.V1)}
    assert {f"{plural}.crd.projectcalico.org" for plural in DOCUMENTED.split()} <= names
