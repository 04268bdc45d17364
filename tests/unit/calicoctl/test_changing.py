"""patch, label, apply and replace: what changes, what stays, what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from datastore.resource import Key, Resource
from datastore.store import Store
from tests.unit.calicoctl.shell import GOLDEN, Shell

POOL = Key("IPPool", "small")
DOCUMENT = """\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: small}
spec: {cidr: 10.99.0.0/24, blockSize: 29}
"""


@pytest.fixture
def shell() -> Shell:
    shell = Shell()
    assert shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    return shell


def get(shell: Shell, key: Key) -> Resource:
    found: Resource = shell.ask(lambda store: store.get(key))
    return found


def from_the_future(shell: Shell) -> None:
    async def work(store: Store) -> None:
        pool = await store.get(POOL)
        await store.update(replace(pool, spec={**pool.spec, "fromTheFuture": {"a": 1}}, metadata={"finalizers": ["x"]}))

    shell.ask(work)


@pytest.mark.parametrize(
    ("patch", "spec"),
    [
        ('{"spec":{"natOutgoing":true}}', {"natOutgoing": True}),
        ('{"spec":{"disabled":null}}', {"disabled": None}),
        ('{"spec":{"nodeSelector":"a == \'b\'"}}', {"nodeSelector": "a == 'b'"}),
        ("{}", {}),
    ],
)
def test_a_patch_changes_what_it_names_and_null_removes(shell: Shell, patch: str, spec: dict[str, Any]) -> None:
    before = get(shell, POOL)
    assert shell(f"patch ippool small -p {_quoted(patch)}").out == "Successfully patched 1 'IPPool' resource\n"
    wanted = {key: value for key, value in {**before.spec, **spec}.items() if value is not None}
    assert get(shell, POOL).spec == wanted


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.mark.parametrize(
    ("patch", "complaint"),
    [
        ("[]", "performing strategic merge patch: invalid JSON document"),
        ("", "performing strategic merge patch: invalid JSON document"),
        ('{"spec":{"nope":1}}', "field in document is not recognized or is in the wrong location: nope"),
        (
            '{"spec":{"blockSize":27}}',
            "updating existing resource: error with field IPPool.Spec.BlockSize = '27'"
            " (IPPool BlockSize cannot be modified)",
        ),
        ('{"metadata":{"name":"other"}}', "a patch changes neither kind, nor name, nor namespace"),
        ('{"metadata":{"resourceVersion":"1"}}', "update conflict: IPPool(small)"),
    ],
)
def test_a_patch_that_is_wrong_changes_nothing(shell: Shell, patch: str, complaint: str) -> None:
    before = get(shell, POOL)
    shown = shell(f"patch ippool small -p '{patch}'")
    assert complaint in shown.err
    assert (shown.status, get(shell, POOL)) == (1, before)


def test_what_a_newer_calico_stored_survives_patch_and_label(shell: Shell) -> None:
    from_the_future(shell)
    assert shell("""patch ippool small -p '{"spec":{"natOutgoing":true}}'""").status == 0
    assert shell("label ippool small a=b").status == 0
    pool = get(shell, POOL)
    assert (pool.spec["fromTheFuture"], pool.metadata, pool.labels) == ({"a": 1}, {"finalizers": ["x"]}, {"a": "b"})


def test_an_update_keeps_what_only_the_store_knows(shell: Shell) -> None:
    from_the_future(shell)
    before = get(shell, POOL)
    assert shell("apply -f -", DOCUMENT).status == 0
    after = get(shell, POOL)
    assert (after.uid, after.created, after.metadata) == (before.uid, before.created, before.metadata)
    assert "fromTheFuture" not in after.spec


def test_a_label_that_nothing_may_be_called_is_refused(shell: Shell) -> None:
    assert shell("label nodes node1 'a b=c'").err == "failed to update nodes node1, label not changed\n"
    assert shell("label nodes node1 a").err == "invalid label a\n"
    assert get(shell, Key("Node", "node1")).labels == {"rack": "a"}


class Meddler:
    """A store where somebody else writes the pool just before each of the first updates."""

    def __init__(self, store: Store, times: int) -> None:
        self._store, self.times = store, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def update(self, resource: Resource) -> Resource:
        if resource.key == POOL and self.times:
            self.times -= 1
            pool = await self._store.get(POOL)
            await self._store.update(replace(pool, labels={"written": str(self.times)}))
        update: Callable[[Resource], Awaitable[Resource]] = self._store.update
        return await update(resource)


@pytest.mark.parametrize(("times", "status"), [(0, 0), (4, 0), (5, 1)])
def test_an_update_without_a_revision_is_tried_again_five_times(shell: Shell, times: int, status: int) -> None:
    shell.wrap = lambda store: Meddler(store, times)
    assert shell("replace -f -", DOCUMENT).status == status


def test_a_profile_that_is_always_there_is_shown_and_cannot_be_written(shell: Shell) -> None:
    assert "projectcalico-default-allow" in shell("get profiles").out
    document = "apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: projectcalico-default-allow}\n"
    assert "projectcalico-default-allow already exists" in shell("create -f -", document).err
    assert "operation Update is not supported on projectcalico-default-allow" in shell("apply -f -", document).err


def test_cluster_information_cannot_be_applied(shell: Shell) -> None:
    document = "apiVersion: projectcalico.org/v3\nkind: ClusterInformation\nmetadata: {name: default}\n"
    assert shell("apply -f -", document).err == (
        "failed to apply 'ClusterInformation' resource:"
        " [operation apply is not supported on ClusterInformation: resource is readonly]\n"
    )


def test_creating_what_exists_may_be_left_out(shell: Shell) -> None:
    assert "resource already exists: IPPool(small)" in shell("create -f -", DOCUMENT).err
    assert shell("create --skip-exists -f -", DOCUMENT).out == "Successfully created 1 'IPPool' resource(s)\n"
