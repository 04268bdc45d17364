"""``calicoctl node run``: how this machine's programs are started with what the flags say.

Upstream starts one container by docker, in which a supervisor starts everything. Here a node is two programs, felix
and bgp, after a third that ends, start-up; they belong to the init system, which starts them again and keeps their
logs, and no docker is needed. So the command checks its flags as upstream does and tells (``--dryrun``) what to run.
Running it itself is refused, for nobody would watch what it started. Under Kubernetes a DaemonSet runs a node.

Source: Calico calicoctl/commands/node/run.go.
"""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from calicoctl.addresses import address_of
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes, Words
from calicoctl.terminal import Environ, Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.connect import type_of

FIRST_FOUND = "first-found"
USAGE = Usage(
    "",
    "Tells how to run this machine as a node (--dryrun): start-up once, and then felix and bgp under the init system.",
    "calicoctl node run --dryrun --ip autodetect --ip-autodetection-method can-reach=10.0.0.1",
    (
        Flag("ip", "The node's IPv4 address, or autodetect."),
        Flag("ip6", "The node's IPv6 address, or autodetect."),
        Flag("as", "The node's AS number."),
        Flag("name", "The node's name; the host's where none is given."),
        Flag("ip-autodetection-method", "How the IPv4 address is found.", default=FIRST_FOUND),
        Flag("ip6-autodetection-method", "How the IPv6 address is found.", default=FIRST_FOUND),
        Flag("log-dir", "Accepted for upstream's sake; logs are the init system's.", default="/var/log/calico"),
        Flag("node-image", "Refused: no container is started."),
        Flag("backend", "Which networking backend to use: bird or none.", default="bird"),
        Flag("dryrun", "Print the commands.", takes=Takes.NOTHING),
        Flag("init-system", "The same: the commands are for an init system.", takes=Takes.NOTHING),
        Flag("no-default-ippools", "Make no pools.", takes=Takes.NOTHING),
        Flag("felix-config", "Refused: FELIX_ variables and FelixConfiguration say the same."),
        CONFIG,
    ),
    most=0,
)
_METHODS = ("can-reach=", "interface=", "skip-interface=", "cidr=", "kubernetes-internal-ip")
_STARTS = {"bird": ("-felix", "-bgp"), "none": ("-felix",)}


def run(terminal: Terminal) -> None:
    """Raises Failure."""
    _check(terminal.words)
    store = terminal.datastore()
    if type_of(store) == "kubernetes":
        raise _wrong("unsupported backend specified in config")
    if not terminal.words.has("dryrun"):
        raise Failure(
            "the init system runs a node's programs, so that they are started again when they end:"
            " calicoctl node run --dryrun prints the commands"
        )
    variables = " ".join(f"{name}={shlex.quote(text)}" for name, text in sorted(_variables(terminal.words, store)))
    terminal.say("Use the following commands to start the node's programs:\n")
    terminal.say(f"env {variables} calico-node -startup")
    for start in _STARTS[terminal.words.text("backend")]:
        terminal.say(f"env {variables} calico-node {start}")
    terminal.say("\nThe first ends; the init system keeps the others running. SIGTERM ends them, and routes stay.")


def _wrong(why: str) -> Failure:
    return Failure(f"error executing command: {why}")


def _check(words: Words) -> None:
    for flag, version in (("ip", 4), ("ip6", 6)):
        text = words.text(flag)
        if text not in ("", "autodetect") and address_of(text).version != version:
            raise _wrong(f"--{flag} is wrong IP version")
        _check_method(words.text(f"{flag}-autodetection-method"), version)
    for flag in ("node-image", "felix-config"):
        if words.text(flag):
            raise _wrong(f"--{flag} has no meaning here: {words.flags[flag].about.removeprefix('Refused: ')}")
    if words.text("backend") not in _STARTS:
        raise _wrong(f"unknown backend '{words.text('backend')}'")
    _as_number(words.text("as"))


def _check_method(method: str, version: int) -> None:
    if method == FIRST_FOUND:
        return
    if not method.startswith(_METHODS):
        raise _wrong(f"invalid IP autodetection method: {method}")
    if (target := method.removeprefix("can-reach=")) != method:
        _check_target(target, version)
    for lead in ("interface=", "skip-interface="):
        if method.startswith(lead):
            _check_patterns(method.removeprefix(lead))


def _check_patterns(patterns: str) -> None:
    for each in patterns.split(","):
        try:
            re.compile(each)
        except re.error:
            raise _wrong(f"invalid interface regex specified for IP autodetection: {each}") from None


def _check_target(target: str, version: int) -> None:
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(target, None)}
    except OSError:
        raise _wrong(f"cannot resolve address specified for IP autodetection: {target}") from None
    if not any(ip_address(str(text).partition("%")[0]).version == version for text in found):
        raise _wrong(f"address for IP autodetection does not resolve to an IPv{version} address: {target}")


def _as_number(text: str) -> str:
    """As start-up reads it: of ``1.10`` 65546. Raises Failure."""
    found = re.fullmatch(r"(?:(\d+)\.)?(\d+)", text or "0")
    high, low = (int(found[1] or 0), int(found[2])) if found else (0, -1)
    if not 0 <= low <= (0xFFFF if found and found[1] else 0xFFFFFFFF) or high > 0xFFFF:
        raise Failure(f"Error executing command: invalid AS Number specified: {text}", is_output=True)
    return str(high << 16 | low)


def _variables(words: Words, store: Environ) -> Iterator[tuple[str, str]]:
    yield "NODENAME", words.text("name") or socket.gethostname().lower()
    yield "CALICO_NETWORKING_BACKEND", words.text("backend")
    if words.has("no-default-ippools"):
        yield "NO_DEFAULT_POOLS", "true"
    for flag in ("ip", "ip6"):
        if (method := words.text(f"{flag}-autodetection-method")) != FIRST_FOUND:
            yield f"{flag.upper()}_AUTODETECTION_METHOD", method
        if text := words.text(flag):
            yield flag.upper(), text
    if text := words.text("as"):
        yield "AS", _as_number(text)
    yield from _of_store(store)


def _of_store(store: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What leads to the datastore; a password is named and not shown."""
    for name, text in store.items():
        if name.startswith(("DATASTORE_", "ETCD_")):
            yield name, "..." if name == "ETCD_PASSWORD" else text
