"""Where the datastore is: from a file, or else from the environment.

The file is upstream's: ``kind: CalicoAPIConfig`` with a ``spec`` whose fields stand for environment variables. A file
that is there decides alone. Source: Calico libcalico-go/lib/apiconfig.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from calicoctl.failure import Failure
from calicoctl.usage import DEFAULT_CONFIG
from datastore.resource import API_VERSION

KIND = "CalicoAPIConfig"

_TEXTS = {
    "datastoreType": "DATASTORE_TYPE",
    "datastorePath": "DATASTORE_PATH",
    "etcdEndpoints": "ETCD_ENDPOINTS",
    "etcdDiscoverySrv": "ETCD_DISCOVERY_SRV",
    "etcdUsername": "ETCD_USERNAME",
    "etcdPassword": "ETCD_PASSWORD",
    "etcdKeyFile": "ETCD_KEY_FILE",
    "etcdCertFile": "ETCD_CERT_FILE",
    "etcdCACertFile": "ETCD_CA_CERT_FILE",
    "etcdKey": "ETCD_KEY",
    "etcdCert": "ETCD_CERT",
    "etcdCACert": "ETCD_CA_CERT",
    "kubeconfig": "KUBECONFIG",
    "kubeconfigInline": "KUBECONFIG_INLINE",
    "k8sAPIEndpoint": "K8S_API_ENDPOINT",
    "k8sAPIToken": "K8S_API_TOKEN",
    "k8sKeyFile": "K8S_KEY_FILE",
    "k8sCertFile": "K8S_CERT_FILE",
    "k8sCAFile": "K8S_CA_FILE",
    "k8sCurrentContext": "K8S_CURRENT_CONTEXT",
    "calicoAPIGroup": "CALICO_API_GROUP",
}
"""``datastorePath`` is ours: the file of the embedded datastore."""

_BOOLEANS = {
    "k8sInsecureSkipTLSVerify": "K8S_INSECURE_SKIP_TLS_VERIFY",
    "k8sDisableNodePoll": "K8S_DISABLE_NODE_POLL",
    "usePodCIDR": "USE_POD_CIDR",
}
_NUMBERS = {"k8sClientQPS": "K8S_CLIENT_QPS", "k8sClientBurst": "K8S_CLIENT_BURST"}


def environment_of(path: str, environ: Mapping[str, str]) -> Mapping[str, str]:
    """What names the datastore. Raises Failure for a file that cannot be read, or that says something else."""
    if not os.path.exists(path):
        if path in ("", DEFAULT_CONFIG):
            return environ
        raise Failure(f"Error reading config file: {path}", is_output=True)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"Error reading config file: {path}: {error}", is_output=True) from None
    return {**_of_text(path, text), **_without_datastore(environ)}


def _without_datastore(environ: Mapping[str, str]) -> Mapping[str, str]:
    named = {*_TEXTS.values(), *_BOOLEANS.values(), *_NUMBERS.values()}
    return {name: value for name, value in environ.items() if name not in named and _bare(name) not in named}


def _bare(name: str) -> str:
    return name.removeprefix("CALICO_")


def _of_text(path: str, text: str) -> dict[str, str]:
    from calicoctl.yaml_in import Malformed, parse
    from datastore.schema.metadata import document
    from datastore.schema.notation import always, boolean, decimal, filled, string, struct
    from datastore.schema.reading import Unreadable, read

    spec = struct(
        "apiconfig.CalicoAPIConfigSpec",
        *(filled(name, string) for name in _TEXTS),
        *(filled(name, boolean) for name in _BOOLEANS),
        *(filled(name, decimal) for name in _NUMBERS),
    )
    table = document("apiconfig.CalicoAPIConfig", always("spec", spec))
    try:
        parsed = parse(text)
        parsed.refuse_repeated()
        whole = read(table, parsed.value if isinstance(parsed.value, dict) else {})
    except Malformed as error:
        raise _syntax(path, f"failed to parse config as YAML/JSON: {error}") from None
    except Unreadable as error:
        why = f"error unmarshaling JSON: while decoding JSON: {error}"
        raise _syntax(path, f"failed to parse config as YAML/JSON: {why}") from None
    if (version := whole.get("apiVersion", "")) != API_VERSION:
        raise _syntax(path, f"invalid config file: unknown APIVersion '{version}'")
    if (kind := whole.get("kind", "")) != KIND:
        raise _syntax(path, f"invalid config file: expected kind '{KIND}', got '{kind}'")
    variables = {**_TEXTS, **_BOOLEANS, **_NUMBERS}
    return {variables[name]: _text(value) for name, value in whole["spec"].items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _syntax(path: str, why: str) -> Failure:
    return Failure(f"syntax error in {path}: {why}")
