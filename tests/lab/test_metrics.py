"""felix of a node answers a scrape, from the moment FelixConfiguration asks for it, and tells of what pods do."""

from __future__ import annotations

import re

import pytest

from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

SCRAPE = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9091/metrics', timeout=2).read().decode())"
ON = "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\nspec: {%s}\n"


def scraped(lab: Testbed) -> dict[str, float]:
    """Nothing while nobody answers."""
    text = lab.run("node1", "python3", "-c", SCRAPE, may_fail=True)
    samples = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in samples}


def switch(lab: Testbed, *, is_on: bool) -> None:
    spec = f"prometheusMetricsEnabled: {str(is_on).lower()}"
    lab.run("node1", "calicoctl", "apply", "-f", "-", stdin=ON % spec)


def test_metrics_come_and_go_with_the_setting_and_count_pods(shared_lab: Testbed) -> None:
    assert scraped(shared_lab) == {}
    switch(shared_lab, is_on=True)
    shared_lab.eventually(lambda: scraped(shared_lab), what="felix answers a scrape")
    before = scraped(shared_lab)
    with shared_lab.pods(("node1", "counted")):
        during = scraped(shared_lab)
    after = scraped(shared_lab)
    grown = {name: during[name] - before[name] for name in during if name in before}
    assert grown['tortie_felix_cni_seconds_count{command="ADD"}'] == 1
    assert grown["felix_active_local_endpoints"] == 1
    assert grown['felix_route_table_num_ifaces{table="IPv4:254"}'] == 1
    assert (
        after['tortie_felix_cni_seconds_count{command="DEL"}'] > before['tortie_felix_cni_seconds_count{command="DEL"}']
    )
    assert after["tortie_felix_ready"] == 1
    switch(shared_lab, is_on=False)
    shared_lab.eventually(lambda: not scraped(shared_lab), what="nobody answers a scrape")


def test_connections_of_a_pods_address_are_forgotten_before_the_next_pod_has_it(shared_lab: Testbed) -> None:
    """The packet filter of a node tracks connections; one that a pod began outlives the pod."""
    node = "node1"
    with shared_lab.pods((node, "first"), ("node2", "other")) as (address, other):
        shared_lab.ping(node, "first", other)
        assert address in tracked(shared_lab, node)
    shared_lab.eventually(lambda: address not in tracked(shared_lab, node), what="the connection is forgotten")


def tracked(lab: Testbed, node: str) -> str:
    return lab.run(node, "cat", "/proc/net/nf_conntrack")
