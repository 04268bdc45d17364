"""What version says, once or again and again."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from calicoctl.versions import CLIENT_VERSION
from datastore.resource import Key
from datastore.store import Store
from tests.unit.calicoctl.shell import GOLDEN, Shell


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert f"v{project['version']}" == CLIENT_VERSION


def test_the_clients_version_needs_no_datastore() -> None:
    shell = Shell()
    assert shell("version --client").out == f"Client Version:    {CLIENT_VERSION}\nGit commit:        \n"
    assert shell.connections == 0


def test_the_clusters_version_and_type_are_unknown_until_somebody_writes_them() -> None:
    shell = Shell()
    shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text())
    assert shell("version").out.splitlines()[2:] == ["Cluster Version:   unknown", "Cluster Type:      unknown"]


def test_polling_tells_only_what_changed() -> None:
    shell = Shell()
    shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text())
    turns = iter(["", "k8s", "", None])

    class Enough(Exception):
        pass

    async def set_type(store: Store, to: str) -> None:
        found = await store.get(Key("ClusterInformation", "default"))
        await store.update(replace(found, spec={**found.spec, "clusterType": to}))

    def sleep(seconds: float) -> None:
        assert seconds == 90.0
        to = next(turns)
        if to is None:
            raise Enough
        if to:
            shell.ask(lambda store: set_type(store, to))

    shell.sleep = sleep
    shell.heard.clear()
    with pytest.raises(Enough):
        shell("version --poll 1m30s")
    assert "".join(shell.heard).splitlines()[2:] == [
        "Cluster Version:   unknown",
        "Cluster Type:      unknown",
        "Cluster Type:      k8s",
    ]


def test_an_interval_that_is_none_is_refused() -> None:
    assert Shell()("version --poll soon").err == "invalid poll duration specified: soon\n"
