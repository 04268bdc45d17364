"""Legacy iptables through python-iptables: the only importer of iptc.

A table is read whole from the kernel, edited in memory, and committed in one system call; rules that are not touched
go back byte for byte. The library takes no lock: whoever calls :meth:`LegacyTables.edit` holds /run/xtables.lock from
before the reading until after the commit (:mod:`felix.firewall.xtables_lock`), or another program's commit in between
would be undone.

python-iptables loads libxtables into the process (a quarter of a second, once) and gives each rule its extensions'
own parser, so what it writes is what ``iptables`` would (a test holds the two against each other).
Source: python-iptables 1.2, iptables 1.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from felix.firewall.iptables_text import (
    HASH_PREFIX,
    Append,
    DeleteChain,
    Edit,
    FlushChain,
    Insert,
    Listed,
    NewChain,
    Remove,
    Written,
    comment_text,
    device_text,
    is_ours,
    source_text,
)
from felix.firewall.model import (
    Accept,
    Action,
    ClampMss,
    Drop,
    FirewallUnavailable,
    FromDevice,
    FromNetwork,
    FromSet,
    FromThisHost,
    Goto,
    HasMark,
    HasNoRouteBack,
    Hook,
    IsEstablished,
    IsIcmp6,
    IsProtocol,
    IsSyn,
    Jump,
    Masquerade,
    Match,
    NoTrack,
    Reject,
    Return,
    SourceNat,
    Table,
    ToDevice,
    ToNetwork,
    ToPort,
    ToSet,
    ToThisHost,
)

_LOADED = {4: Path("/proc/net/ip_tables_names"), 6: Path("/proc/net/ip6_tables_names")}


class LegacyTables:
    """:class:`felix.firewall.iptables.Tables` for the kernel's legacy tables. Blocks for milliseconds."""

    def __init__(self) -> None:
        """Raises FirewallUnavailable where python-iptables is not installed, or finds no libxtables."""
        try:
            import iptc
        except Exception as error:  # the library raises bare ones when it finds no libiptc
            raise FirewallUnavailable(
                f"python-iptables cannot be used ({error}): install tortie[iptables], with iptables and a C compiler"
            ) from error
        self._iptc: Any = iptc

    def exists(self, version: int, table: Table) -> bool:
        """Whether the kernel holds this table here already. Reading one that it does not makes it."""
        try:
            return table.value in _LOADED[version].read_text().split()
        except OSError:
            return False

    def read(self, version: int, table: Table) -> Listed:
        with _in_words(f"iptables {table.value}"):
            opened = self._open(version, table)
            return self._list(opened)

    def edit(self, version: int, table: Table, edits: Sequence[Edit]) -> None:
        """All of them, or none."""
        with _in_words(f"iptables {table.value}"):
            opened = self._open(version, table)
            for edit in edits:
                self._do(opened, version, edit)
            opened.commit()

    def _open(self, version: int, table: Table) -> Any:
        """The library keeps one object for each table, with what it read last."""
        kind = self._iptc.Table if version == 4 else self._iptc.Table6
        kind.ALL = [table.value]  # to find out whether a target is a chain it reads these, and so makes them
        opened = kind(table.value, autocommit=False)
        opened.refresh()
        return opened

    def _list(self, opened: Any) -> Listed:
        chains: dict[str, list[str]] = {}
        referenced: set[str] = set()
        for chain in opened.chains:
            if not is_ours(chain.name) and chain.name not in Hook.__members__:
                continue  # kube-proxy has thousands, and decoding is slow
            rules = [(_hash_of(rule), rule) for rule in chain.rules]
            chains[chain.name] = [hash_ for hash_, _ in rules]
            referenced |= {rule.target.name for hash_, rule in rules if not hash_ and not is_ours(chain.name)}
        return Listed(chains, frozenset(filter(is_ours, referenced)))

    def _do(self, opened: Any, version: int, edit: Edit) -> None:
        match edit:
            case NewChain(name):
                opened.create_chain(name)
            case FlushChain(name):
                opened.flush_entries(name)
            case DeleteChain(name):
                self._delete(opened, name)
            case Append(name, written):
                self._iptc.Chain(opened, name).append_rule(self._rule(written, version))
            case Insert(name, position, written):
                self._iptc.Chain(opened, name).insert_rule(self._rule(written, version), position - 1)
            case Remove(name, position):
                chain = self._iptc.Chain(opened, name)
                chain.delete_rule(chain.rules[position - 1])  # its hash makes it unlike every other

    def _delete(self, opened: Any, name: str) -> None:
        """A foreign chain that we did not read may lead to it: then it stays, empty."""
        try:
            opened.delete_chain(name)
        except self._iptc.IPTCError as error:
            if "links" not in str(error).lower():
                raise

    # From our rule to the library's.

    def _rule(self, written: Written, version: int) -> Any:
        rule = self._iptc.Rule() if version == 4 else self._iptc.Rule6()
        for protocol in [match.name for match in written.rule.matches if isinstance(match, IsProtocol)]:
            rule.protocol = protocol
        comments = [f"{HASH_PREFIX}{written.hash}", comment_text(written.rule.comment)]
        for comment in filter(None, comments):
            rule.create_match("comment").comment = comment
        for match in written.rule.matches:
            _add_match(rule, match)
        self._set_target(rule, written.rule.action)
        return rule

    def _set_target(self, rule: Any, action: Action) -> None:
        name, parameters = _target(action)
        target = self._iptc.Target(rule, name, goto=isinstance(action, Goto))
        for parameter, value in parameters.items():
            target.set_parameter(parameter, value)
        rule.target = target


def _add_match(rule: Any, match: Match) -> None:
    match match:
        case FromDevice(pattern):
            rule.in_interface = device_text(pattern)
        case ToDevice(pattern):
            rule.out_interface = device_text(pattern)
        case IsProtocol():
            pass  # must be there before all others: _rule sees to it
        case FromNetwork(network, is_so):
            rule.src = " ".join([*_inverted(is_so), str(network)])
        case ToNetwork(network, is_so):
            rule.dst = " ".join([*_inverted(is_so), str(network)])
        case IsSyn():
            rule.protocol = "tcp"
            rule.create_match("tcp").set_parameter("tcp-flags", ["SYN,RST", "SYN"])
        case _:
            name, parameters = _match(match)
            extension = rule.create_match(name)
            for parameter, value in parameters.items():
                extension.set_parameter(parameter, value)


def _match(match: Match) -> tuple[str, dict[str, Any]]:
    """The extension and its parameters; "!" before a value turns it round."""
    match match:
        case ToPort(port):
            return "multiport", {"destination-ports": str(port)}
        case FromSet(name, is_member):
            return "set", {"match-set": [*_inverted(is_member), name, "src"]}
        case ToSet(name, is_member):
            return "set", {"match-set": [*_inverted(is_member), name, "dst"]}
        case ToThisHost():
            return "addrtype", {"dst-type": "LOCAL"}
        case FromThisHost(is_so, on_out_device):
            here = {"src-type": [*_inverted(is_so), "LOCAL"]}
            return "addrtype", {**here, "limit-iface-out": ""} if on_out_device else here
        case HasNoRouteBack():
            return "rpfilter", {"invert": "", "validmark": ""}
        case IsEstablished():
            return "conntrack", {"ctstate": "RELATED,ESTABLISHED"}
        case HasMark(bits):
            return "mark", {"mark": f"{bits:#x}/{bits:#x}"}
        case IsIcmp6(type_):
            return "icmp6", {"icmpv6-type": str(type_)}
        case _:
            raise TypeError(match)


def _target(action: Action) -> tuple[str, dict[str, Any]]:
    match action:
        case Accept():
            return "ACCEPT", {}
        case Drop():
            return "DROP", {}
        case Return():
            return "RETURN", {}
        case Reject():
            return "REJECT", {}
        case Jump(chain) | Goto(chain):
            return chain, {}
        case Masquerade(ports, is_random):
            range_ = {} if ports is None else {"to-ports": f"{ports[0]}-{ports[1]}"}
            return "MASQUERADE", {**range_, **({"random-fully": ""} if is_random else {})}
        case SourceNat():
            return "SNAT", {"to-source": source_text(action), "random-fully": ""}
        case NoTrack():
            return "CT", {"notrack": ""}
        case ClampMss(mss_bytes):
            return "TCPMSS", {"set-mss": str(mss_bytes)}


def _inverted(is_so: bool) -> list[str]:
    return [] if is_so else ["!"]


def _hash_of(rule: Any) -> str:
    for match in rule.matches:
        if match.name == "comment" and str(match.comment).strip('"').startswith(HASH_PREFIX):
            return str(match.comment).strip('"').removeprefix(HASH_PREFIX)
    return ""


@contextmanager
def _in_words(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the library raises whatever it met: IPTCError, ValueError, bare ones
        raise FirewallUnavailable(f"{what}: {error}") from error
