"""What a user gets wrong: the message says which field and what is allowed, and nothing is half-written."""

from __future__ import annotations

import pytest

from datastore.resource import KINDS
from datastore.store import Store
from tests.unit.calicoctl.shell import Shell


def pool(name: str, cidr: str, more: str = "") -> str:
    return f"apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{cidr: {cidr}{more}}}\n"


GOOD = pool("good", "10.1.0.0/16")


def everything(shell: Shell) -> list[str]:
    """All that the datastore holds, and in which version."""

    async def work(store: Store) -> list[str]:
        found = [(await store.list(kind)).items for kind in KINDS]
        return [f"{each.key} {each.revision}" for items in found for each in items]

    result: list[str] = shell.ask(work)
    return result


BAD = {
    "a wrong CIDR": (
        pool("bad", "10.0.1.0/33"),
        "error with field IPPool.Spec.CIDR = '10.0.1.0/33' (IPPool CIDR must be a valid subnet)",
    ),
    "a CIDR with host bits": (
        pool("bad", "10.2.3.4/16"),
        "error with field IPPool.Spec.CIDR = '10.2.0.0/16' (IPPool CIDR is not strictly masked)",
    ),
    "a pool smaller than a block": (
        pool("bad", "10.2.0.0/28"),
        "error with field spec (IP pool size is too small for use with Calico IPAM. It must be equal to or greater than"
        " the block size.)",
    ),
    "a mode that there is not": (
        pool("bad", "10.2.0.0/16", ", vxlanMode: Maybe"),
        'error with field spec.vxlanMode (supported values: "Never", "Always", "CrossSubnet")',
    ),
    "a selector that cannot be read": (
        pool("bad", "10.2.0.0/16", ", nodeSelector: 'has('"),
        "error with field NodeSelector = 'has('"
        " (Reason: failed to validate Field: NodeSelector because of Tag: selector )",
    ),
    "an unknown field": (
        pool("bad", "10.2.0.0/16", ", foo: 1"),
        "field in document is not recognized or is in the wrong location: foo",
    ),
    "an unknown kind": (
        "apiVersion: projectcalico.org/v3\nkind: Pool\nmetadata: {name: bad}\n",
        "failed to execute command: unknown resource type (Pool) and/or version (projectcalico.org/v3)",
    ),
    "an object of another kind in a list": (
        "apiVersion: projectcalico.org/v3\nkind: IPPoolList\nitems:\n"
        "- {apiVersion: projectcalico.org/v3, kind: Pool, metadata: {name: bad}, spec: {cidr: 10.2.0.0/16}}\n",
        "failed to execute command: unknown resource type (Pool) and/or version (projectcalico.org/v3)",
    ),
    "a key that stands twice": (
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nkind: IPPool\nmetadata: {name: bad}\n",
        "failed to execute command: error converting YAML to JSON: yaml: unmarshal errors:\n"
        '  line 3: key "kind" already set in map',
    ),
    "a field of the wrong type": (
        pool("bad", "10.2.0.0/16", ", blockSize: big"),
        "failed to execute command: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go"
        " struct field IPPoolSpec.spec.blockSize of type int",
    ),
    "a namespace where there is none": (
        pool("bad, namespace: x", "10.2.0.0/16"),
        "namespace should not be specified for a non-namespaced resource. IPPool is not a namespaced resource",
    ),
}


@pytest.mark.parametrize("command", ["apply", "create", "replace"])
@pytest.mark.parametrize("what", BAD)
def test_one_bad_document_among_good_ones_and_nothing_is_written(command: str, what: str) -> None:
    bad, complaint = BAD[what]
    shell = Shell()
    assert shell("create -f -", pool("before", "10.9.0.0/16")).status == 0
    before = everything(shell)
    shown = shell(f"{command} -f -", "---\n".join([GOOD, bad, pool("after", "10.3.0.0/16")]))
    assert complaint in shown.err
    assert (shown.out, shown.status) == ("", 1)
    assert everything(shell) == before


@pytest.mark.parametrize("what", [what for what in BAD if "CIDR" not in what])
def test_validate_says_the_same_and_asks_no_datastore(what: str) -> None:
    bad, complaint = BAD[what]
    shell = Shell()
    shown = shell("validate -f -", bad)
    assert complaint in shown.err
    assert (shown.status, shell.connections) == (1, 0)


def test_validate_names_a_wrong_cidr_with_its_field() -> None:
    shown = Shell()("validate -f -", BAD["a wrong CIDR"][0])
    assert "-  IPpool.CIDR = '10.0.1.0/33' (IPPool CIDR must be a valid subnet)\n" in shown.err


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = "\n---\n".join([pool("a", "10.0.1.0/33"), GOOD, pool("b", "10.2.0.0/28")])
    assert str(Shell()("apply -f -", wrong)) == (
        "[stderr] failed to apply any 'IPPool' resources:"
        " [error with field IPPool.Spec.CIDR = '10.0.1.0/33' (IPPool CIDR must be a valid subnet)"
        " error with field spec (IP pool size is too small for use with Calico IPAM. It must be equal to or greater"
        " than the block size.)]\n[rc 1]"
    )


def test_a_pool_that_overlaps_names_the_other_and_the_rest_is_created() -> None:
    shell = Shell()
    shell("create -f -", pool("first", "10.0.0.0/16"))
    shown = shell("create -f -", "---\n".join([GOOD, pool("second", "10.0.128.0/17")]))
    assert str(shown) == (
        "[stderr] hit error: [error with field IPPool.Spec.CIDR = '10.0.128.0/17' (IPPool(second) CIDR overlaps with"
        " IPPool(first) CIDR 10.0.0.0/16)]\n[rc 1]"
    )
    assert [line.split()[0] for line in everything(shell) if line.startswith("IPPool")] == [
        "IPPool(first)",
        "IPPool(good)",
    ]


def test_two_pools_of_one_file_that_overlap_do_not_both_come_to_be() -> None:
    shell = Shell()
    shown = shell("create -f -", "---\n".join([pool("first", "10.0.0.0/16"), pool("second", "10.0.128.0/17")]))
    assert "IPPool(second) CIDR overlaps with IPPool(first)" in shown.err
    assert "IPPool(second)" not in " ".join(everything(shell))


@pytest.mark.parametrize("command", ["apply", "replace"])
def test_an_old_revision_changes_nothing(command: str) -> None:
    shell = Shell()
    shell("create -f -", GOOD)
    old = shell("get ippool good -o yaml").out
    assert shell("apply -f -", pool("good", "10.1.0.0/16", ", disabled: true")).status == 0
    before = everything(shell)
    shown = shell(f"{command} -f -", old)
    assert "update conflict: IPPool(good)" in shown.err
    assert (shown.status, everything(shell)) == (1, before)


def test_what_was_read_can_be_changed_and_put_back() -> None:
    shell = Shell()
    shell("create -f -", GOOD)
    for output in ("yaml", "json"):
        read = shell(f"get ippool good -o {output}").out
        assert str(shell("replace -f -", read)) == "Successfully replaced 1 'IPPool' resource(s)\n[rc 0]"


def test_an_immutable_field_names_itself() -> None:
    shell = Shell()
    shell("create -f -", GOOD)
    shown = shell("replace -f -", pool("good", "10.4.0.0/16", ", blockSize: 27"))
    assert shown.err == (
        "hit error: error with the following fields:\n"
        "-  IPPool.Spec.CIDR = '10.4.0.0/16' (IPPool CIDR cannot be modified)\n"
        "-  IPPool.Spec.BlockSize = '27' (IPPool BlockSize cannot be modified)\n\n"
    )


def test_a_policy_of_a_tier_that_is_not_there_is_refused() -> None:
    shown = Shell()(
        "create -f -",
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p}\nspec: {tier: none}\n",
    )
    assert shown.err == (
        "failed to create 'GlobalNetworkPolicy' resource: [resource does not exist: Tier(none) with error: <nil>]\n"
    )


def test_a_file_that_is_not_there_and_one_with_nothing_in_it() -> None:
    assert Shell()("apply -f /no/such.yaml").err == (
        "failed to execute command: open /no/such.yaml: no such file or directory\n"
    )
    assert Shell()("apply -f -").err == "no resources specified in file -\n"
    assert Shell()("apply --skip-empty -f -").out == "No resources specified\n"
