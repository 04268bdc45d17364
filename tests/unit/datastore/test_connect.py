"""The environment names the datastore."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datastore.connect import connect, type_of
from datastore.etcd import EtcdStore
from datastore.plain import run
from datastore.resource import Key, Resource
from datastore.store import Rejected, Unavailable


def test_sqlite_is_the_default_and_its_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "datastore.sqlite"
    run(connect({"DATASTORE_PATH": str(path)}).create(Resource("Node", "n")))
    again = connect({"DATASTORE_TYPE": "sqlite", "DATASTORE_PATH": str(path)})
    assert run(again.get(Key("Node", "n"))).name == "n"


def test_etcd_is_the_default_where_its_endpoints_are_named() -> None:
    assert type_of({}) == type_of({"ETCD_ENDPOINTS": ""}) == "sqlite"
    assert type_of({"ETCD_ENDPOINTS": "http://etcd:2379"}) == "etcdv3"
    assert type_of({"DATASTORE_TYPE": "sqlite", "ETCD_ENDPOINTS": "http://etcd:2379"}) == "sqlite"
    assert isinstance(connect({"ETCD_ENDPOINTS": "http://etcd:2379"}), EtcdStore)


def test_what_is_written_with_calico_before_it_counts_first() -> None:
    assert type_of({"CALICO_DATASTORE_TYPE": "etcdv3", "DATASTORE_TYPE": "sqlite"}) == "etcdv3"
    assert type_of({"CALICO_ETCD_ENDPOINTS": "http://etcd:2379"}) == "etcdv3"
    assert isinstance(connect({"CALICO_ETCD_ENDPOINTS": "http://etcd:2379"}), EtcdStore)
    assert type_of({"CALICO_NETWORKING_BACKEND": "bird"}) == "sqlite"


def test_connecting_opens_nothing(tmp_path: Path) -> None:
    store = connect({"DATASTORE_PATH": str(tmp_path / "absent" / "datastore.sqlite")})
    with pytest.raises(Unavailable, match="does not exist: create it, or set DATASTORE_PATH"):
        run(store.list("Node"))


async def test_with_an_executor_calls_run_on_its_thread(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1, "datastore") as executor:
        store = connect({"DATASTORE_PATH": str(tmp_path / "datastore.sqlite")}, executor=executor)
        coroutine = store.list("Node")
        with pytest.raises(RuntimeError, match="waits for something"):
            run(coroutine)
        assert (await store.list("Node")).items == ()
        await store.close()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            "etcdv3",
            "error with field ETCD_ENDPOINTS (no etcd endpoints specified: set it, as in http://127.0.0.1:2379)",
        ),
        (
            "kubernetes",
            "error with field DATASTORE_TYPE (is kubernetes, but no API server is named: set KUBECONFIG or "
            "K8S_API_ENDPOINT, or run this in a pod of the cluster)",
        ),
        ("etcd", "error with field DATASTORE_TYPE (etcd is none of sqlite, etcdv3, kubernetes)"),
    ],
)
def test_a_datastore_that_there_is_not_is_refused_in_a_sentence(named: str, said: str) -> None:
    with pytest.raises(Rejected) as caught:
        connect({"DATASTORE_TYPE": named})
    assert str(caught.value) == said


def test_the_driver_is_loaded_when_it_is_asked_for() -> None:
    code = """if True:
        import sys
        from datastore.connect import connect
        assert "sqlite3" not in sys.modules
        connect({})
        assert "sqlite3" in sys.modules and "asyncio" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
