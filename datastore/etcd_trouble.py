"""What an error of etcd means for the datastore: one sentence, and what to do about it.

Pure. Source: etcd api/v3rpc/rpctypes/error.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from datastore.store import Forbidden, Rejected, StoreError, Unavailable


@dataclass(eq=False)
class Unanswered(Unavailable):
    """The request was sent and no answer came: it may have been carried out, or not."""


_NO_QUORUM = (
    "has no quorum: start enough of its members that more than half of them reach each other "
    "(etcdctl endpoint status --cluster)"
)
_SAID: Mapping[str, str] = {
    "mvcc: database space exceeded": (
        "has no room left (alarm NOSPACE) and takes no writes: compact and defragment it, or raise "
        "--quota-backend-bytes, then: etcdctl alarm disarm"
    ),
    "corrupt cluster": "says that its data is damaged (alarm CORRUPT): restore the broken member (etcdctl alarm list)",
    "no leader": _NO_QUORUM,
    "request timed out": _NO_QUORUM,
    "request timed out, possibly due to connection lost": _NO_QUORUM,
    "request timed out, possibly due to previous leader failure": _NO_QUORUM,
    "leader changed": "has just changed its leader: try again",
    "too many requests": "has more requests than it can serve: look at its disks (etcd's metrics of WAL fsync)",
    "server stopped": "is being stopped: start it, or name other members in ETCD_ENDPOINTS",
}
_WHO_ARE_YOU: Mapping[str, str] = {
    "user name is empty": "asks for a user: set ETCD_USERNAME and ETCD_PASSWORD",
    "user name not found": "does not know user {user}: correct ETCD_USERNAME",
    "authentication failed, invalid user ID or password": (
        "does not take this password of user {user}: correct ETCD_USERNAME and ETCD_PASSWORD"
    ),
    "permission denied": (
        "does not let {user} do this: etcdctl role grant-permission ROLE readwrite --prefix=true /calico/, "
        "with a role that {user} has"
    ),
}
OLD_TOKEN = ("invalid auth token", "revision of auth store is old", "auth revision in header is old")
"""Authenticating again helps."""

AUTH_IS_OFF = "authentication is not enabled"


def word_of(message: str) -> str:
    """``rpc error: code = Unavailable desc = etcdserver: no leader`` → ``no leader``."""
    return message.rpartition(" desc = ")[2].removeprefix("etcdserver: ").removeprefix("auth: ")


def explained(server: str, message: str, *, status: str, user: str) -> StoreError:
    """What the server said. ``status`` is gRPC's name for it."""
    word = word_of(message)
    if (who := _WHO_ARE_YOU.get(word)) is not None:
        return Forbidden(f"etcd at {server} {who.format(user=user or 'a nameless user')}")
    if word == "request is too large":
        return Rejected("", "etcd does not take an object as large as this: raise its --max-request-bytes")
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return Forbidden(f"etcd at {server}: {message}")
    said = _SAID.get(word) or f"does not do what it is asked ({status}: {message}): look at its log"
    return Unavailable(f"etcd at {server} {said}")


def unreachable(server: str, error: Exception, *, within_s: float) -> str:
    """Why no connection came about."""
    if isinstance(error, TimeoutError) and not error.errno:
        return f"etcd at {server} did not take a connection within {within_s:g} s: {_LOOK}"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {server}: start etcd there, or correct ETCD_ENDPOINTS"
    if isinstance(error, ConnectionResetError) and server.startswith("https"):
        return (
            f"{server} closed the connection instead of agreeing on TLS: write http:// in ETCD_ENDPOINTS if it has none"
        )
    if (tls := _of_tls(error)) is not None:
        return f"etcd at {server} {tls}"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"etcd at {server} cannot be reached ({reason}): {_LOOK}"


_LOOK = "look at the network between here and there, and at ETCD_ENDPOINTS"


def _of_tls(error: Exception) -> str | None:
    """The ssl module is not loaded for this: its errors are told by what they carry."""
    reason = getattr(error, "reason", None)
    if (why := getattr(error, "verify_message", None)) is not None:
        return f"has a certificate that is not trusted here ({why}): set ETCD_CA_CERT_FILE to its CA's certificate"
    if not isinstance(reason, str):
        return None
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "does not speak TLS: write http:// in ETCD_ENDPOINTS"
    if "CERTIFICATE" in reason or "ALERT" in reason:
        return f"refuses our certificate ({reason}): set ETCD_CERT_FILE and ETCD_KEY_FILE to one that its CA has signed"
    return f"and we cannot agree on TLS ({reason}): look at the certificates on both sides"


def cut_off(server: str, *, is_tls: bool, has_answered: bool) -> str:
    """The connection ended while we waited."""
    if has_answered:
        return f"etcd at {server} closed the connection: it was stopped, or something between here and there"
    if is_tls:
        why = "it may want a certificate (ETCD_CERT_FILE, ETCD_KEY_FILE), or is no etcd"
    else:
        why = "it may want https:// in ETCD_ENDPOINTS, or is no etcd"
    return f"{server} closed the connection without an answer: {why}"


def silent(server: str, *, within_s: float) -> str:
    return (
        f"etcd at {server} did not answer within {within_s:.3g} s: it has no quorum, is overloaded, or the network "
        "is cut (etcdctl endpoint health --cluster)"
    )
