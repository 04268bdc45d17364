"""Where the API server is and who asks: from the environment, a kubeconfig, or the pod that this runs in.

KUBECONFIG, KUBECONFIG_INLINE, K8S_CURRENT_CONTEXT     a kubeconfig, and which of its contexts
K8S_API_ENDPOINT, K8S_CA_FILE, K8S_CERT_FILE,
K8S_KEY_FILE, K8S_API_TOKEN,
K8S_INSECURE_SKIP_TLS_VERIFY                           each replaces what the kubeconfig says
KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT       of a pod; its token and CA are mounted into it

Source: Calico libcalico-go/lib/backend/k8s/client.go, client-go rest.InClusterConfig.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from datastore.kubernetes.kubeconfig import Access, access_of
from datastore.store import Rejected

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_REPLACING = {
    "K8S_API_ENDPOINT": "server",
    "K8S_CA_FILE": "ca_file",
    "K8S_CERT_FILE": "cert_file",
    "K8S_KEY_FILE": "key_file",
    "K8S_API_TOKEN": "token",
}
_SAME_THING = {"ca_file": "ca_text", "cert_file": "cert_text", "key_file": "key_text", "token": "token_file"}

Environ = Mapping[str, str]


def find(environ: Environ, read_file: Callable[[str], str]) -> Access:
    """``read_file`` raises OSError. Raises Rejected, the user's mistake, where the environment names no server."""
    replaced = {field: environ[variable] for variable, field in _REPLACING.items() if environ.get(variable)}
    access = _of_kubeconfig(environ, read_file) or (None if replaced.get("server") else _of_this_pod(environ))
    if access is None and "server" not in replaced:
        why = "no API server is named: set KUBECONFIG or K8S_API_ENDPOINT, or run this in a pod of the cluster"
        raise Rejected("DATASTORE_TYPE", f"is kubernetes, but {why}")
    access = access or Access(server="", how="K8S_API_ENDPOINT")
    for field, value in replaced.items():
        emptied = {_SAME_THING[field]: ""} if field in _SAME_THING else {}
        access = replace(access, **{field: value, **emptied})  # type: ignore[arg-type]  # all of them are texts
    server = access.server if "://" in access.server else f"https://{access.server}"
    is_insecure = access.is_insecure or environ.get("K8S_INSECURE_SKIP_TLS_VERIFY", "").lower() in ("true", "1", "yes")
    return replace(access, server=server.rstrip("/"), is_insecure=is_insecure)


def _of_kubeconfig(environ: Environ, read_file: Callable[[str], str]) -> Access | None:
    context = environ.get("K8S_CURRENT_CONTEXT", "")
    if inline := environ.get("KUBECONFIG_INLINE"):
        return access_of(_parsed(inline, "KUBECONFIG_INLINE"), path="", context=context)
    paths = [path for path in environ.get("KUBECONFIG", "").split(":") if path]
    if not paths:
        return None
    wholes = [_parsed(_text_of(path, read_file), path) for path in paths]
    return access_of(_together(wholes), path=paths[0], context=context)


def _of_this_pod(environ: Environ) -> Access | None:
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        return None
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        how=f"KUBERNETES_SERVICE_HOST and {SERVICE_ACCOUNT}",
        ca_file=f"{SERVICE_ACCOUNT}/ca.crt",
        token_file=f"{SERVICE_ACCOUNT}/token",
    )


def _text_of(path: str, read_file: Callable[[str], str]) -> str:
    try:
        return read_file(path)
    except OSError as error:
        raise Rejected("KUBECONFIG", f"{path} cannot be read: {error.strerror}") from None


def _parsed(text: str, path: str) -> Any:
    import yaml  # 20 ms that a pod's client does not need

    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Rejected(path, f"is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(whole, dict):
        raise Rejected(path, "is no kubeconfig")
    return whole


def _together(wholes: list[Any]) -> Any:
    merged = {group: [entry for whole in wholes for entry in whole.get(group) or ()] for group in _GROUPS}
    current = next((whole["current-context"] for whole in wholes if whole.get("current-context")), "")
    return {**merged, "current-context": current}


_GROUPS = ("clusters", "contexts", "users")
