"""Where etcd is and who we are there, from the variables that Calico's programs read.

ETCD_ENDPOINTS                                    http(s)://host:port, separated by commas
ETCD_USERNAME, ETCD_PASSWORD                      both, or nobody in particular
ETCD_CA_CERT_FILE, ETCD_CERT_FILE, ETCD_KEY_FILE  names of files, for https
ETCD_CA_CERT, ETCD_CERT, ETCD_KEY                 the same as texts, instead

Source: Calico libcalico-go/lib/apiconfig, lib/backend/etcdv3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from datastore.store import Rejected

if TYPE_CHECKING:
    from ssl import SSLContext

DEFAULT_PORT = 2379

_FILES = ("ETCD_CA_CERT_FILE", "ETCD_CERT_FILE", "ETCD_KEY_FILE")
_INLINE = ("ETCD_CA_CERT", "ETCD_CERT", "ETCD_KEY")


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int = DEFAULT_PORT
    is_tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.is_tls else ''}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM texts, or names of files with them; "" for what is not given."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    are_files: bool = True


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    endpoints: tuple[Endpoint, ...]
    user: str = ""
    password: str = ""
    credentials: Credentials = Credentials()


def settings_from(environ: Mapping[str, str]) -> EtcdSettings:
    """Raises Rejected, the user's mistake, with the variable's name."""
    user, password = environ.get("ETCD_USERNAME", ""), environ.get("ETCD_PASSWORD", "")
    is_somebody = bool(user and password)
    return EtcdSettings(
        _endpoints(environ),
        user if is_somebody else "",
        password if is_somebody else "",
        _credentials(environ),
    )


def _endpoints(environ: Mapping[str, str]) -> tuple[Endpoint, ...]:
    given = [text.strip() for text in environ.get("ETCD_ENDPOINTS", "").split(",") if text.strip()]
    if environ.get("ETCD_DISCOVERY_SRV"):
        why = "endpoints are not looked up in DNS: name them in ETCD_ENDPOINTS"
        if given:
            why = "multiple discovery or bootstrap options specified, use either ETCD_ENDPOINTS or ETCD_DISCOVERY_SRV"
        raise Rejected("ETCD_DISCOVERY_SRV", why)
    if not given:
        raise Rejected("ETCD_ENDPOINTS", "no etcd endpoints specified: set it, as in http://127.0.0.1:2379")
    return tuple(_endpoint(text) for text in given)


def _endpoint(text: str) -> Endpoint:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise Rejected("ETCD_ENDPOINTS", f"{text}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Rejected("ETCD_ENDPOINTS", f"{text} is not of the form http://host:port or https://host:port")
    return Endpoint(parts.hostname, port, parts.scheme == "https")


def _credentials(environ: Mapping[str, str]) -> Credentials:
    files, inline = ([environ.get(name, "") for name in names] for names in (_FILES, _INLINE))
    if any(files) and any(inline):
        raise Rejected(_INLINE[0], "Cannot mix inline certificate-key and certificate / key files")
    ca, cert, key = inline if any(inline) else files
    found = Credentials(ca, cert, key, are_files=not any(inline))
    if bool(found.cert) != bool(found.key):
        raise Rejected(_FILES[1], "a certificate and its key are given together, or neither")
    return found


def tls_context(credentials: Credentials) -> SSLContext:
    """Raises Rejected for what cannot be read."""
    import ssl

    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    names = _FILES if credentials.are_files else _INLINE
    if credentials.ca:
        _trust(context, credentials, names[0])
    if credentials.cert:
        _present(context, credentials, f"{names[1]}, {names[2]}")
    return context


def _trust(context: SSLContext, credentials: Credentials, name: str) -> None:
    try:
        if credentials.are_files:
            context.load_verify_locations(cafile=credentials.ca)
        else:
            context.load_verify_locations(cadata=credentials.ca)
    except OSError as error:
        raise Rejected(name, f"cannot be used: {error}") from None


def _present(context: SSLContext, credentials: Credentials, name: str) -> None:
    try:
        if credentials.are_files:
            context.load_cert_chain(credentials.cert, credentials.key)
        else:
            _present_inline(context, credentials)
    except OSError as error:
        raise Rejected(name, f"cannot be used: {error}") from None


def _present_inline(context: SSLContext, credentials: Credentials) -> None:
    """The ssl module reads a key from files only: from one that is in memory and has no name."""
    memory = os.memfd_create("etcd-key")
    try:
        os.write(memory, f"{credentials.cert}\n{credentials.key}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
