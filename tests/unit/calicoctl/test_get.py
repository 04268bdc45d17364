"""What get shows, of what is asked for in each way."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
import yaml

from calicoctl.kinds import KIND_BY_ALIAS, KINDS_OF_USERS
from datastore.memory import MemoryStore
from datastore.resource import KINDS, Resource
from datastore.store import Listing, Rejected, Store
from tests.unit.calicoctl.shell import GOLDEN, Shell

NETWORK_SETS = """\
apiVersion: projectcalico.org/v3
kind: NetworkSetList
items:
- {apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: a, namespace: prod}, spec: {nets: [10.0.0.0/8]}}
- {apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: a}, spec: {nets: [10.1.0.0/16]}}
- {apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {name: b}, spec: {nets: [10.2.0.0/16]}}
"""


@pytest.fixture
def shell() -> Shell:
    shell = Shell()
    assert shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    assert shell("apply -f -", NETWORK_SETS).out == "Successfully applied 3 'NetworkSet' resource(s)\n"
    return shell


def test_every_kind_answers_to_all_of_its_names() -> None:
    shell = Shell()
    for alias, kind in KIND_BY_ALIAS.items():
        namespaced = " -A" if KINDS[kind].is_namespaced else ""
        for called in (alias, alias.upper(), alias.capitalize()):
            assert shell(f"get {called}{namespaced} -o yaml").out.splitlines()[-3] == f"kind: {kind}List"


@pytest.mark.parametrize("kind", KINDS_OF_USERS)
def test_every_kind_has_a_table_of_every_width(kind: str) -> None:
    shell = Shell()
    for output in ("ps", "wide", "custom-columns=NAME"):
        shown = shell(f"get {kind} -o {output}")
        assert (shown.err, shown.status) == ("", 0)
        assert "NAME" in shown.out or "WORKLOAD" in shown.out


def test_names_of_several_things_give_a_table_each(shell: Shell) -> None:
    assert shell("get netsets -n default a b").out == (
        "NAMESPACE   NAME   \ndefault     a      \n\nNAMESPACE   NAME   \ndefault     b      \n\n"
    )


def test_several_things_as_yaml_are_a_bare_list(shell: Shell) -> None:
    shown = yaml.safe_load(shell("get ippool small v6pool -o yaml").out)
    assert [each["metadata"]["name"] for each in shown] == ["small", "v6pool"]
    assert [each["spec"]["cidr"] for each in json.loads(shell("get ippool small v6pool -o json").out)] == [
        "10.99.0.0/24",
        "fd00:10:244::/64",
    ]


def test_a_list_of_one_and_a_single_thing_are_told_apart(shell: Shell) -> None:
    assert shell("get tier default -o json").out.startswith('{\n  "kind": "Tier",\n')
    assert shell("get netsets -n prod -o json").out.startswith('{\n  "kind": "NetworkSetList",\n')


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("netsets", "default/a default/b"),
        ("netsets -n prod", "prod/a"),
        ("netsets -n none", ""),
        ("netsets -A", "default/a default/b prod/a"),
        ("netsets --all-namespaces", "default/a default/b prod/a"),
        ("netsets -a", "default/a default/b prod/a"),
    ],
)
def test_a_namespace_is_default_unless_it_is_said(shell: Shell, words: str, names: str) -> None:
    items = yaml.safe_load(shell(f"get {words} -o yaml").out)["items"]
    assert " ".join(f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in items) == names


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("netsets a -A", "cannot use --all-namespace flag for getting a single resource"),
        ("netsets a -n prod -A", "cannot use both --namespace and --all-namespaces flags at the same time"),
        ("nodes -n prod", "Node is not namespaced"),
        ("netsets none", "resource does not exist: NetworkSet(default/none) with error: <nil>"),
        ("nodes ''", "failed to get resources: resource name may not be empty"),
        ("nodes -o custom-columns", "need to specify at least one column"),
        ("nodes -o go-template-file=/no/such", "open /no/such: no such file or directory"),
    ],
)
def test_what_cannot_be_got_says_why(shell: Shell, words: str, complaint: str) -> None:
    shown = shell(f"get {words}")
    assert (shown.err, shown.status) == (f"{complaint}\n", 1)


def test_what_a_file_names_is_got_from_the_datastore(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text((GOLDEN / "pools_and_nodes.yaml").read_text())
    (tmp_path / "notes.txt").write_text("not a manifest")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "b.JSON").write_text(json.dumps(yaml.safe_load(NETWORK_SETS)))
    shown = shell(f"get -f {tmp_path}").out
    assert shown.count("NAME") == 6 and "NAMESPACE" not in shown
    assert shell(f"get -R -f {tmp_path}").out.count("\n\n") == 9


def test_a_template_prints_fields_by_their_go_names(shell: Shell) -> None:
    template = "{{range .}}{{range .Items}}{{.Name}} {{.Spec.CIDR}} {{.Spec.NATOutgoing}}\n{{end}}{{end}}"
    assert shell(f"get ippools -o 'go-template={template}'").out == (
        "default-ipv4-ippool 10.244.0.0/16 true\nsmall 10.99.0.0/24 false\nv6pool fd00:10:244::/64 false\n"
    )
    assert shell("get node node2 -o 'go-template={{range .}}{{.Spec.BGP.ASNumber}}{{end}}'").out == "64999"


def test_a_template_is_read_from_a_file(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text("{{range .}}{{range .Items}}{{.ObjectMeta.Name}},{{end}}{{end}}")
    assert shell(f"get nodes -o go-template-file={path}").out == "node1,node2,node3,"


@pytest.mark.parametrize("template", ["{{if .}}x{{end}}", "{{range .}}", "{{nope}}", "{{.Nope}}", "{{"])
def test_a_template_that_is_more_than_we_know_is_refused(shell: Shell, template: str) -> None:
    shown = shell(f"get nodes -o 'go-template={template}'")
    assert shown.err.startswith("template: ")
    assert (shown.out, shown.status) == ("", 1)


def test_a_node_without_a_number_shows_the_clusters(shell: Shell) -> None:
    assert "node1   (64512)   172.30.0.1/24" in shell("get nodes -o wide").out
    document = (
        "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\nspec: {asNumber: 65000}\n"
    )
    assert shell("apply -f -", document).status == 0
    assert "node1   (65000)   172.30.0.1/24" in shell("get nodes -o wide").out


def many(count: int) -> Shell:
    shell = Shell()

    async def work(store: Store) -> None:
        for number in range(count):
            spec = {
                "node": f"node{number % 50}",
                "orchestrator": "k8s",
                "pod": f"web-{number}",
                "endpoint": "eth0",
                "ipNetworks": [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32"],
                "interfaceName": f"cali{number:011x}",
                "profiles": ["kns.default"],
            }
            await store.create(Resource("WorkloadEndpoint", f"wep-{number:06}", "default", spec=spec))

    shell.ask(work)
    return shell


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_a_long_list_is_printed_without_a_second_copy_of_it(output: str) -> None:
    shell = many(2_000)
    tracemalloc.start()
    try:
        listed = shell.ask(lambda store: store.list("WorkloadEndpoint"))
        size = tracemalloc.get_traced_memory()[0]
        del listed
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        shown = shell(f"get wep -A -o {output}")
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert shown.out.count("interfaceName") == 2_000
    assert peak < size + 2 * len(shown.out)


class Garbled(MemoryStore):
    """Cannot read one of the pools, and says so."""

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        listed = await super().list(kind, namespace=namespace, node=node)
        bad = {each.key: Rejected(str(each.key), "cannot be read") for each in listed.items if each.name == "small"}
        return Listing(tuple(each for each in listed.items if each.key not in bad), listed.revision, bad)


def test_what_cannot_be_read_is_told_beside_what_can(shell: Shell) -> None:
    shell.wrap = lambda store: Garbled(shell.memory)
    shown = shell("get ippool")
    assert (shown.err, shown.status) == ("Note: one is not shown: error with field IPPool(small) (cannot be read)\n", 0)
    assert "v6pool" in shown.out and "small" not in shown.out
