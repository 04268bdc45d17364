"""ipam split makes several pools of one, and takes no address and no block from anybody."""

from __future__ import annotations

import pytest

from datastore.memory import MemoryStore
from datastore.resource import Key, Resource
from datastore.store import Store, Unavailable
from tests.unit.calicoctl.pods import add_pod
from tests.unit.calicoctl.shell import GOLDEN, Shell

POOL = """apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: big
  labels: {zone: a}
spec: {cidr: 10.99.0.0/16, natOutgoing: true, nodeSelector: all()}
"""


@pytest.fixture
def shell() -> Shell:
    shell = Shell()
    assert shell("apply -f -", POOL).status == 0
    assert shell("datastore migrate lock").status == 0
    return shell


def pools(shell: Shell) -> list[str]:
    return shell("get ippools -o custom-columns=NAME,CIDR,DISABLED,NAT").out.splitlines()[1:-1]


def test_a_pool_becomes_pools_of_equal_size_with_the_same_settings(shell: Shell) -> None:
    assert str(shell("ipam split 4 --name big")) == (
        "IP Pool big was successfully split into 4 smaller pools.Created split-big-0 with CIDR 10.99.0.0/18.\n"
        "Created split-big-1 with CIDR 10.99.64.0/18.\n"
        "Created split-big-2 with CIDR 10.99.128.0/18.\n"
        "Created split-big-3 with CIDR 10.99.192.0/18.\n"
        "Please refer to the documentation for final steps.[rc 0]"
    )
    assert [line.split() for line in pools(shell)] == [
        ["split-big-0", "10.99.0.0/18", "false", "true"],
        ["split-big-1", "10.99.64.0/18", "false", "true"],
        ["split-big-2", "10.99.128.0/18", "false", "true"],
        ["split-big-3", "10.99.192.0/18", "false", "true"],
    ]
    assert "zone: a" in shell("get ippool split-big-3 -o yaml").out


def test_a_pool_is_found_by_its_cidr(shell: Shell) -> None:
    assert shell("ipam split 2 --cidr 10.99.0.0/16").status == 0
    assert len(pools(shell)) == 2


def test_addresses_and_their_blocks_stay_with_their_owners() -> None:
    shell = Shell()
    assert shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    add_pod(shell, "node1", "a", "10.244.166.128")
    before = shell.ask(lambda store: _ipam(store))
    shell("datastore migrate lock")
    assert shell("ipam split 2 --name default-ipv4-ippool").status == 0
    assert shell.ask(lambda store: _ipam(store)) == before
    assert "IP 10.244.166.128 is in use\n" in shell("ipam show --ip 10.244.166.128").out


async def _ipam(store: Store) -> list[Resource]:
    kinds = ("IPAMBlock", "BlockAffinity", "IPAMHandle")
    return [item for kind in kinds for item in (await store.list(kind)).items]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("4", "no name or CIDR provided. Provide a name or CIDR to denote the IP pool to split"),
        ("3 --name big", "number to split CIDR into is not a valid power of 2: 3"),
        ("1 --name big", "number to split CIDR into is not a valid power of 2: 1"),
        ("-- 0 ", "no name or CIDR provided"),
        ("131072 --name big", "the CIDR 10.99.0.0/16 is not large enough to be split into 131072 parts"),
        ("2048 --name big", "error using unsafe create to make split pool with cidr 10.99.0.0/27: error with field"),
        ("2 --name none", "unable to find IP pool with name none: resource does not exist: IPPool(none)"),
        ("2 --cidr 10.98.0.0/16", "unable to find IP pool  covering the specified CIDR 10.98.0.0/16"),
        ("two --name big", "error reading number to split IP pools into. two is not a valid number: strconv.Atoi:"),
        ("--name big", "accepts 1 arg(s), received 0"),
    ],
)
def test_what_cannot_be_split_is_left_as_it_is(shell: Shell, words: str, why: str) -> None:
    before = pools(shell)
    shown = shell(f"ipam split {words}")
    assert (shown.out, shown.status) == ("", 1)
    assert why in shown.err
    assert pools(shell) == before


def test_the_datastore_must_be_locked(shell: Shell) -> None:
    shell("datastore migrate unlock")
    assert shell("ipam split 4 --name big").err == (
        "datastore is not locked. Run the `calicoctl datastore migrate lock` command in order split the IP pools\n"
    )
    assert Shell()("ipam split 4 --name big").err == (
        "error while checking if datastore was locked: error retrieving ClusterInformation:"
        " resource does not exist: ClusterInformation(default) with error: <nil>\n"
    )


class Mortal(MemoryStore):
    """A client that is cut off after so many writes."""

    writes_left: int

    def _spend(self) -> None:
        if not self.writes_left:
            raise Unavailable("gone")
        self.writes_left -= 1

    async def create(self, resource: Resource) -> Resource:
        self._spend()
        return await super().create(resource)

    async def update(self, resource: Resource) -> Resource:
        self._spend()
        return await super().update(resource)

    async def delete(self, key: Key, *, revision: str = "", uid: str = "") -> Resource:
        self._spend()
        return await super().delete(key, revision=revision, uid=uid)


@pytest.mark.parametrize("writes", range(6))
def test_a_split_that_was_cut_off_is_gone_on_with_and_some_pool_covers_each_address_meanwhile(
    shell: Shell, writes: int
) -> None:
    def mortal(store: Store) -> Store:
        client = Mortal(shell.memory)
        client.writes_left = writes
        return client

    shell.wrap = mortal
    assert shell("ipam split 4 --name big").status == 1
    shell.wrap = lambda store: store
    assert any(line.split()[1] == "10.99.0.0/16" for line in pools(shell))
    assert shell("ipam split 4 --name big").status == 0
    assert [line.split()[0] for line in pools(shell)] == [f"split-big-{number}" for number in range(4)]


def test_a_pool_that_has_a_new_ones_name_is_not_taken_for_it(shell: Shell) -> None:
    shell("create -f -", POOL.replace("big", "split-big-1").replace("10.99", "10.97"))
    shown = shell("ipam split 4 --name big")
    assert shown.err.startswith(
        "error using unsafe create to make split pool with cidr 10.99.64.0/18: resource already"
    )
