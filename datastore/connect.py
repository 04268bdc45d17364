"""Which datastore the environment names. Loads the one driver that is asked for, and opens nothing yet.

DATASTORE_TYPE   sqlite, etcdv3 or kubernetes, as upstream calls them; where it is not said, etcdv3 if ETCD_ENDPOINTS
                 names any, and otherwise sqlite
DATASTORE_PATH   the file of sqlite; its directory must exist
ETCD_...         see :mod:`datastore.etcd_settings`
KUBECONFIG, K8S_...  see :mod:`datastore.kubernetes.access`

Each may also be written with CALICO_ before it, as upstream's programs read them, and then counts before the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from datastore.store import Rejected, Store

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from datastore.kubernetes.beside import Beside

DEFAULT_TYPE = "sqlite"
DEFAULT_PATH = "/var/lib/calico/datastore.sqlite"

Environ = Mapping[str, str]


def connect(environ: Environ, *, executor: Executor | None = None) -> Store:
    """One client. Daemons give an executor of one thread, so that their event loop never waits for a disk.

    Raises Rejected, the user's mistake, where the environment names no datastore that there is.
    """
    environ = unprefixed(environ)
    named = type_of(environ)
    driver = _DRIVERS.get(named)
    if driver is None:
        raise Rejected("DATASTORE_TYPE", f"{named} is none of {', '.join(_DRIVERS)}")
    return driver(environ, executor)


def beside(store: Store, environ: Environ) -> Beside | None:
    """What stands beside Calico's objects where ``store`` is a Kubernetes API server; None where it is another."""
    if type_of(environ) != "kubernetes":
        return None
    from datastore.kubernetes.beside import Beside
    from datastore.kubernetes.store import KubernetesStore

    return Beside(store, environ.get("NAMESPACE", "")) if isinstance(store, KubernetesStore) else None


def type_of(environ: Environ) -> str:
    environ = unprefixed(environ)
    return environ.get("DATASTORE_TYPE") or ("etcdv3" if environ.get("ETCD_ENDPOINTS") else DEFAULT_TYPE)


PREFIX = "CALICO_"
_OURS = ("DATASTORE_", "ETCD_", "K8S_", "KUBECONFIG", "USE_POD_CIDR")


def unprefixed(environ: Environ) -> Environ:
    """What CALICO_ETCD_ENDPOINTS says as ETCD_ENDPOINTS. Source: Calico libcalico-go/lib/apiconfig (envconfig)."""
    said = {name.removeprefix(PREFIX): text for name, text in environ.items() if name.startswith(PREFIX)}
    return {**environ, **{name: text for name, text in said.items() if name.startswith(_OURS)}}


def _sqlite(environ: Environ, executor: Executor | None) -> Store:
    from datastore.sqlite import SqliteStore

    return SqliteStore(environ.get("DATASTORE_PATH") or DEFAULT_PATH, executor=executor)


def _etcd(environ: Environ, executor: Executor | None) -> Store:
    from datastore.etcd import EtcdStore
    from datastore.etcd_settings import settings_from

    return EtcdStore(settings_from(environ))


def _kubernetes(environ: Environ, executor: Executor | None) -> Store:
    from datastore.kubernetes.connect import connect_to

    return connect_to(environ)


_DRIVERS: Mapping[str, Callable[[Environ, Executor | None], Store]] = {
    "sqlite": _sqlite,
    "etcdv3": _etcd,
    "kubernetes": _kubernetes,
}
