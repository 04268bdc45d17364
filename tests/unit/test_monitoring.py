"""The dashboard and the alert rules ask for what is exported, with labels that it has."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from datastore.monitoring import exposition
from flannel import metrics
from tests.models.etcd_model import EtcdModel
from tests.models.flannel_node import PREFIX, FlannelNode
from tests.sim.scrape import labels_of, scraped
from tests.virtual_time import run

FOLDER = Path(__file__).parents[2] / "manifests" / "monitoring"
OF_THE_SCRAPE = {"instance", "job"}
"""Labels that Prometheus itself adds."""


def panels() -> dict[str, list[str]]:
    """Each panel's expressions."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    return {panel["title"]: [each["expr"] for each in panel["targets"]] for panel in dashboard["panels"]}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[Any]:
    for title, several in panels().items():
        for number, text in enumerate(several):
            yield pytest.param(text, id=f"{title} {number}")
    for rule in rules():
        yield pytest.param(rule["expr"], id=rule["alert"])


@cache
def exported() -> Mapping[str, frozenset[str]]:
    """Names and their labels, from a cluster at rest."""
    logging.disable(logging.CRITICAL)
    try:
        found, flanneld = scraped(nodes=2, pods=2), run(of_flanneld())
    finally:
        logging.disable(logging.NOTSET)
    return {**labels_of(found.controllers), **labels_of(found.felix), **labels_of(flanneld)}


async def of_flanneld() -> str:
    """From a node that has a peer which host-gw cannot reach."""
    etcd = EtcdModel()
    etcd.put(f"{PREFIX}/config", '{"Network": "10.5.0.0/16", "Backend": {"Type": "host-gw"}}')
    etcd.put(f"{PREFIX}/subnets/10.5.2.0-24", '{"PublicIP":"192.168.98.2","BackendType":"host-gw"}')
    with tempfile.TemporaryDirectory() as folder:
        async with FlannelNode(etcd, Path(folder)).daemon() as running:
            return exposition.text(metrics.families(running.agent.figures(), None))


SELECTOR = re.compile(r"\b((?:felix|tortie|ipam|process)_\w+)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\b(?:by|on|group_left) \(([^)]*)\)")


def asked(expression: str) -> tuple[set[str], set[str]]:
    """The metrics of an expression, and the labels that it groups by."""
    grouped = {label.strip() for found in GROUPING.findall(expression) for label in found.split(",")}
    return {name for name, _ in SELECTOR.findall(expression)}, grouped


@pytest.mark.parametrize("expression", list(expressions()))
def test_every_metric_that_is_asked_for_is_exported_with_the_labels_that_are_used(expression: str) -> None:
    names, grouped = asked(expression)
    assert names, "it asks for nothing"
    missing = names - exported().keys()
    assert not missing
    for name, matchers in SELECTOR.findall(expression):
        used = set(re.findall(r"(\w+)(?:=~|!=|!~|=)", matchers))
        assert used <= exported()[name] | OF_THE_SCRAPE, name
    known = frozenset().union(*(exported()[name] for name in names))
    assert grouped <= known | OF_THE_SCRAPE


def test_a_name_that_is_not_exported_is_found() -> None:
    """The check above can fail."""
    names, grouped = asked('sum by (le, colour) (rate(tortie_felix_nonsense_total{command="ADD"}[5m]))')
    assert (names - exported().keys(), grouped) == ({"tortie_felix_nonsense_total"}, {"le", "colour"})


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_for_how_long_how_bad_and_what_to_do(rule: Mapping[str, Any]) -> None:
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    names, grouped = asked(rule["expr"])
    kept = grouped or frozenset().union(*(exported()[name] for name in names))
    assert told <= kept | OF_THE_SCRAPE


def test_alerts_have_names_of_their_own_and_panels_do_not_overlap() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    places = [panel["gridPos"] for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]]
    cells = [(each["x"] + dx, each["y"] + dy) for each in places for dx in range(each["w"]) for dy in range(each["h"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
