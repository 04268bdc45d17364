"""Policies that are in force do not lapse without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from felix.startup.environment import BadEnvironment
from felix.startup.takeover import check, in_force

UPSTREAM = (Path(__file__).parents[3] / "golden" / "upstream_iptables_legacy.txt").read_text()
WITH_POLICIES = (
    UPSTREAM + ":cali-pi-default/allow-dns - [0:0]\n:cali-po-default/allow-dns - [0:0]\n:cali-pi-_x7Qq - [0:0]\n"
)
IN_NFT = "table ip calico {\n\tchain filter-cali-pi-_x7Qq {\n\t}\n\tchain filter-cali-pri-kns.default {\n\t}\n}\n"


def test_profiles_and_pods_chains_are_no_policies() -> None:
    assert in_force(UPSTREAM) == []
    assert check(UPSTREAM, {}) == []


def test_a_policy_counts_once_whatever_its_directions_and_the_backend() -> None:
    assert in_force(WITH_POLICIES + IN_NFT) == ["_x7Qq", "default/allow-dns"]


def test_a_node_with_policies_in_force_is_not_taken_over() -> None:
    with pytest.raises(BadEnvironment) as refused:
        check(WITH_POLICIES, {})
    assert str(refused.value) == (
        "2 network policies are in force on this node, and stop being enforced: _x7Qq, default/allow-dns. "
        "ACCEPT_UNENFORCED_POLICIES=true takes the node over all the same"
    )


def test_who_accepts_it_is_told_what_lapses() -> None:
    (line,) = check(WITH_POLICIES, {"ACCEPT_UNENFORCED_POLICIES": "true"})
    assert line.startswith("2 network policies are in force on this node, and stop being enforced: ")
