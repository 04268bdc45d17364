"""A kubeconfig file → how to reach the server that one of its contexts names. Pure.

Source: client-go tools/clientcmd/api/v1/types.go.
"""

from __future__ import annotations

import posixpath
from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datastore.store import Rejected


@dataclass(frozen=True, slots=True)
class Access:
    """Files are named by path and read again when they change; texts are PEM.

    ``token`` is used where there is no ``token_file``. ``how`` says where all this is from.
    """

    server: str
    how: str
    ca_file: str = ""
    ca_text: str = ""
    server_name: str = ""
    is_insecure: bool = False
    token: str = ""
    token_file: str = ""
    cert_file: str = ""
    cert_text: str = ""
    key_file: str = ""
    key_text: str = ""
    user: str = ""
    password: str = ""


def access_of(whole: Any, *, path: str, context: str = "") -> Access:
    """How the file's current context, or the one named, reaches its server.

    Args:
        whole: the parsed YAML; several files together are one list of each kind, the first entry of a name counting.
        path: the file's, which relative paths in it start from; "" for a text without one.
    Raises Rejected with the field that is missing or cannot be meant.
    """
    how = path or "KUBECONFIG_INLINE"
    wanted = context or whole.get("current-context") or ""
    if not wanted:
        raise Rejected(how, "has no current-context: choose one (kubectl config use-context, or K8S_CURRENT_CONTEXT)")
    chosen = _named(whole, "contexts", "context", wanted, how)
    cluster = _named(whole, "clusters", "cluster", chosen.get("cluster") or "", how)
    user = _named(whole, "users", "user", chosen["user"], how) if chosen.get("user") else {}
    for mechanism in ("exec", "auth-provider"):
        if mechanism in user:
            why = f"uses {mechanism}, which runs another program: give it a token, a tokenFile or a client certificate"
            raise Rejected(f"{how}: user {chosen['user']}", why)
    if cluster.get("proxy-url"):
        raise Rejected(
            f"{how}: cluster {chosen.get('cluster')}", "has a proxy-url: the server must be reached directly"
        )
    if not cluster.get("server"):
        raise Rejected(f"{how}: cluster {chosen.get('cluster')}", "has no server")
    folder = posixpath.dirname(path)
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        how=how,
        ca_file=_file(cluster, "certificate-authority", folder),
        ca_text=_data(cluster, "certificate-authority-data", how),
        server_name=cluster.get("tls-server-name") or "",
        is_insecure=bool(cluster.get("insecure-skip-tls-verify")),
        token=user.get("token") or "",
        token_file=_file(user, "tokenFile", folder),
        cert_file=_file(user, "client-certificate", folder),
        cert_text=_data(user, "client-certificate-data", how),
        key_file=_file(user, "client-key", folder),
        key_text=_data(user, "client-key-data", how),
        user=user.get("username") or "",
        password=user.get("password") or "",
    )


def _named(whole: Mapping[str, Any], group: str, part: str, name: str, how: str) -> Mapping[str, Any]:
    for entry in whole.get(group) or ():
        if entry.get("name") == name:
            found: Mapping[str, Any] = entry.get(part) or {}
            return found
    raise Rejected(how, f"{group} has no entry named {name!r}")


def _file(entry: Mapping[str, Any], field: str, folder: str) -> str:
    named = entry.get(field) or ""
    return posixpath.join(folder, named) if named else ""


def _data(entry: Mapping[str, Any], field: str, how: str) -> str:
    try:
        return b64decode(entry.get(field) or "", validate=True).decode()
    except (NoBase64, ValueError):
        raise Rejected(f"{how}: {field}", "is no base64 text") from None
