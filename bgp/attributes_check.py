"""RFC 7606: what is done about an error in the path attributes, decided on the raw bytes before anything decodes them.

ExaBGP's decoder forgives where the RFC withdraws (a missing ORIGIN, an ORIGIN of 5) and ends the session where the RFC
withdraws (a CLUSTER_LIST of 3 bytes), and once decoded a missing AS_PATH cannot be told from an empty one. So each
attribute is judged here first, by one row of a table, and only what is kept goes on to be decoded:

- DISCARD: this attribute is cut out, the route stays.
- WITHDRAW: the routes of this UPDATE count as withdrawn.
- RESET: it cannot be told which routes the UPDATE is about; the session ends.

The strongest verdict of an UPDATE wins. What nobody here reads and others may want (extended communities, whatever is
transitive and not in the table) is put aside undecoded, to be passed on with the route; what is not transitive is cut
out.

Source: RFC 7606 (sections in the rows), RFC 4271 6.3, RFC 4456, RFC 4760, RFC 5065, RFC 6793, RFC 7607, RFC 8092.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from bgp.message import Carried

_OPTIONAL = 0x80
_TRANSITIVE = 0x40
_PARTIAL = 0x20
_EXTENDED_LENGTH = 0x10
_MEANINGFUL = _OPTIONAL | _TRANSITIVE | _EXTENDED_LENGTH
"""Partial and the unused bits say nothing about a value, and do not reach the decoder."""

ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF = 1, 2, 3, 4, 5
ATOMIC_AGGREGATE, AGGREGATOR, AS4_PATH, AS4_AGGREGATOR = 6, 7, 17, 18
MP_REACH, MP_UNREACH = 14, 15
_UNREAD = frozenset({ATOMIC_AGGREGATE, AGGREGATOR, 16, AS4_AGGREGATOR, 25})
"""Of the table, those that nobody here reads: of aggregates and the extended communities."""
MULTIPROTOCOL = (MP_REACH, MP_UNREACH)
AS_TRANS = 23456
_NEXT_HOP_BYTES = {(1, 1): (4,), (2, 1): (16, 32)}
_MALFORMED_LIST, _OPTIONAL_ERROR = 1, 9
"""Subcodes of the error that ends a session."""


class Verdict(IntEnum):
    KEEP = 0
    DISCARD = 1
    WITHDRAW = 2
    RESET = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What the session knows and the bytes do not say. ``families`` are pairs of AFI and SAFI."""

    is_internal: bool
    has_four_octet_as: bool
    families: frozenset[tuple[int, int]] = frozenset({(1, 1)})


@dataclass(frozen=True, slots=True)
class Judgement:
    """``kept`` is what remains to be decoded, ``partial`` the codes of those among it that have the Partial bit.
    ``faults`` read ``origin: value 5: withdraw``. ``subcode`` and ``data`` are those of the error, where the session
    has to end.
    """

    verdict: Verdict
    kept: bytes
    faults: tuple[str, ...] = ()
    carried: tuple[Carried, ...] = ()
    partial: frozenset[int] = frozenset()
    subcode: int = _MALFORMED_LIST
    data: bytes = b""


Check = Callable[[bytes, Facts], str]
"""What is wrong with a value, or ""."""


@dataclass(frozen=True, slots=True)
class Rule:
    """``from_external``: the verdict on its mere presence in an UPDATE of an external peer."""

    name: str
    flags: int
    check: Check
    on_error: Verdict
    from_external: Verdict = Verdict.KEEP


def _of_length(*lengths: int) -> Check:
    def check(value: bytes, _: Facts) -> str:
        return "" if len(value) in lengths else f"length {len(value)}"

    return check


def _of_many(size: int) -> Check:
    def check(value: bytes, _: Facts) -> str:
        return "" if value and len(value) % size == 0 else f"length {len(value)}"

    return check


def _check_origin(value: bytes, _: Facts) -> str:
    if len(value) != 1:
        return f"length {len(value)}"
    return "" if value[0] <= 2 else f"value {value[0]}"


def _check_as_path(value: bytes, facts: Facts) -> str:
    return _check_segments(value, 4 if facts.has_four_octet_as else 2)


def _check_as4_path(value: bytes, facts: Facts) -> str:
    if facts.has_four_octet_as:
        return "from a four-octet speaker"
    return _check_segments(value, 4, forbids_confederations=False) if value else "empty"


def _check_segments(value: bytes, size: int, *, forbids_confederations: bool = True) -> str:
    """Sections 7.2; RFC 5065, 5 for confederation segments outside a confederation; RFC 7607 for AS 0."""
    at = 0
    while at < len(value):
        if at + 2 > len(value):
            return "segment header cut short"
        kind, count = value[at], value[at + 1]
        end = at + 2 + count * size
        if kind not in (1, 2, 3, 4):
            return f"segment type {kind}"
        if kind > 2 and forbids_confederations:
            return "confederation segment"
        if count == 0:
            return "empty segment"
        if end > len(value):
            return "segment overruns"
        if any(not any(value[each : each + size]) for each in range(at + 2, end, size)):
            return "AS 0"
        at = end
    return ""


def _check_aggregator(value: bytes, facts: Facts) -> str:
    size = 4 if facts.has_four_octet_as else 2
    if len(value) != size + 4:
        return f"length {len(value)}"
    return "" if any(value[:size]) else "AS 0"


def _check_as4_aggregator(value: bytes, facts: Facts) -> str:
    if facts.has_four_octet_as:
        return "from a four-octet speaker"
    if len(value) != 8:
        return f"length {len(value)}"
    return "" if any(value[:4]) else "AS 0"


def _check_reach(value: bytes, facts: Facts) -> str:
    """RFC 4760, 3: family, next hop and its length, an octet that means nothing, prefixes."""
    if len(value) < 3:
        return f"length {len(value)}"
    allowed = _NEXT_HOP_BYTES.get(_family_of(value), ())
    if _family_of(value) not in facts.families:
        return ""
    if len(value) < 5 + (length := value[3] if len(value) > 3 else 0):
        return "next hop overruns"
    return "" if length in allowed else f"next hop of {length} octets"


def _check_unreach(value: bytes, _: Facts) -> str:
    return "" if len(value) >= 3 else f"length {len(value)}"


def _family_of(value: bytes) -> tuple[int, int]:
    return int.from_bytes(value[:2], "big"), value[2]


_WELL_KNOWN = _TRANSITIVE
_PASSED_ON = _OPTIONAL | _TRANSITIVE

RULES: dict[int, Rule] = {
    ORIGIN: Rule("origin", _WELL_KNOWN, _check_origin, Verdict.WITHDRAW),  # 7.1
    AS_PATH: Rule("as-path", _WELL_KNOWN, _check_as_path, Verdict.WITHDRAW),  # 7.2
    NEXT_HOP: Rule("next-hop", _WELL_KNOWN, _of_length(4), Verdict.WITHDRAW),  # 7.3
    MED: Rule("med", _OPTIONAL, _of_length(4), Verdict.WITHDRAW),  # 7.4
    LOCAL_PREF: Rule("local-pref", _WELL_KNOWN, _of_length(4), Verdict.WITHDRAW, Verdict.DISCARD),  # 7.5
    ATOMIC_AGGREGATE: Rule("atomic-aggregate", _WELL_KNOWN, _of_length(0), Verdict.DISCARD),  # 7.6
    AGGREGATOR: Rule("aggregator", _PASSED_ON, _check_aggregator, Verdict.DISCARD),  # 7.7
    8: Rule("community", _PASSED_ON, _of_many(4), Verdict.WITHDRAW),  # 7.8
    9: Rule("originator-id", _OPTIONAL, _of_length(4), Verdict.WITHDRAW, Verdict.DISCARD),  # 7.9
    10: Rule("cluster-list", _OPTIONAL, _of_many(4), Verdict.WITHDRAW, Verdict.DISCARD),  # 7.10
    MP_REACH: Rule("mp-reach", _OPTIONAL, _check_reach, Verdict.RESET),  # 7.11; the decoder judges the prefixes
    MP_UNREACH: Rule("mp-unreach", _OPTIONAL, _check_unreach, Verdict.RESET),  # 7.12
    16: Rule("extended-community", _PASSED_ON, _of_many(8), Verdict.WITHDRAW),  # 7.14
    AS4_PATH: Rule("as4-path", _PASSED_ON, _check_as4_path, Verdict.DISCARD),  # RFC 6793, 6
    AS4_AGGREGATOR: Rule("as4-aggregator", _PASSED_ON, _check_as4_aggregator, Verdict.DISCARD),  # RFC 6793, 6
    25: Rule("ipv6-extended-community", _PASSED_ON, _of_many(20), Verdict.WITHDRAW),  # 7.15
    32: Rule("large-community", _PASSED_ON, _of_many(12), Verdict.WITHDRAW),  # RFC 8092, 5
}


@dataclass(frozen=True, slots=True)
class _Finding:
    name: str
    why: str
    verdict: Verdict
    subcode: int = _MALFORMED_LIST
    data: bytes = b""

    def __str__(self) -> str:
        return f"{self.name}: {self.why}: {self.verdict.name.lower()}"


def judge(raw: bytes, facts: Facts, *, has_nlri: bool) -> Judgement:
    """The verdict on the path attributes of one UPDATE. ``has_nlri``: its NLRI field is not empty."""
    kept: dict[int, bytes] = {}
    carried: dict[int, Carried] = {}
    findings: list[_Finding] = []
    seen: set[int] = set()
    partial: set[int] = set()
    for flags, code, whole, value in split(raw):
        if code is None:
            findings.append(_Finding("attributes", "length overruns", Verdict.WITHDRAW))  # section 4
            continue
        finding = _judge_one(flags, code, whole, value, facts, seen)
        is_first = code not in seen
        seen.add(code)
        if finding is not None:
            findings.append(finding)
        if code in MULTIPROTOCOL:
            if finding is None or finding.verdict is Verdict.WITHDRAW:
                kept[code] = _plain_multiprotocol(code, value)
        elif finding is not None:
            continue
        elif code in _UNREAD or code not in RULES:
            if flags & _TRANSITIVE and is_first:
                carried[code] = _carry(flags, code, value)
        else:
            if flags & _PARTIAL and RULES[code].flags == _PASSED_ON:
                partial.add(code)
            kept[code] = whole if not flags & ~_MEANINGFUL else bytes((flags & _MEANINGFUL,)) + whole[1:]
    if not facts.has_four_octet_as:
        _join_aggregators(kept, carried)
    is_reachable = has_nlri or MP_REACH in seen
    if is_reachable and not seen >= _ALWAYS_NEEDED:
        findings += _missing(seen, facts, has_nlri=has_nlri)
    worst = max((finding.verdict for finding in findings), default=Verdict.KEEP)
    if worst is Verdict.WITHDRAW and not is_reachable:
        worst = Verdict.RESET
        findings.append(_Finding("routes", "none to withdraw", Verdict.RESET))  # 5.2
    cause = max(findings, key=lambda each: each.verdict, default=_NOTHING)
    faults = tuple(map(str, findings))
    return Judgement(
        worst,
        b"".join(kept.values()),
        faults,
        tuple(carried.values()),
        frozenset(partial),
        cause.subcode,
        cause.data,
    )


_NOTHING = _Finding("", "", Verdict.KEEP)


def _plain_multiprotocol(code: int, value: bytes) -> bytes:
    """With the flags that it should have and its reserved octet 0; nothing where it announces nothing."""
    if code == MP_REACH:
        end = 4 + value[3]
        value = value[:end] + b"\0" + value[end + 1 :]
        if len(value) == end + 1:
            return b""
    return bytes((_OPTIONAL | _EXTENDED_LENGTH, code)) + len(value).to_bytes(2, "big") + value


def _join_aggregators(kept: dict[int, bytes], carried: dict[int, Carried]) -> None:
    """RFC 6793, 4.2.3: of an old speaker. One whose AGGREGATOR is not AS_TRANS took no notice of what stood behind."""
    long, short = carried.pop(AS4_AGGREGATOR, None), carried.get(AGGREGATOR)
    if short is None:
        return
    number, address = int.from_bytes(short.value[:2], "big"), short.value[2:]
    value = number.to_bytes(4, "big") + address
    if number != AS_TRANS:
        kept.pop(AS4_PATH, None)
    elif long is not None:
        value = long.value
    carried[AGGREGATOR] = Carried(AGGREGATOR, short.flags, value)


def _carry(flags: int, code: int, value: bytes) -> Carried:
    """RFC 4271, 5: who passes on what it does not know says so by the Partial bit."""
    partial = 0 if code in RULES else _PARTIAL
    return Carried(code, flags & (_OPTIONAL | _TRANSITIVE | _PARTIAL) | partial, value)


def split(raw: bytes) -> Iterator[tuple[int, int | None, bytes, bytes]]:
    """(flags, code, the whole attribute, its value) of each; code None for one that does not fit into the field."""
    at, total = 0, len(raw)
    while at < total:
        flags = raw[at]
        header = 4 if flags & _EXTENDED_LENGTH else 3
        end = at + header + int.from_bytes(raw[at + 2 : at + header], "big")
        if end > total or at + header > total:
            yield flags, None, b"", b""
            return
        yield flags, raw[at + 1], raw[at:end], raw[at + header : end]
        at = end


def _judge_one(flags: int, code: int, whole: bytes, value: bytes, facts: Facts, seen: set[int]) -> _Finding | None:
    rule = RULES.get(code)
    if rule is None:
        is_optional = bool(flags & _OPTIONAL)
        return None if is_optional else _Finding(f"attribute {code}", "unknown well-known", Verdict.WITHDRAW)
    if code in seen:  # 3 (g)
        return _Finding(rule.name, "twice", Verdict.RESET if code in MULTIPROTOCOL else Verdict.DISCARD)
    if code in MULTIPROTOCOL and (wrong := _judge_family(rule, whole, value, facts)):
        return wrong
    if (flags ^ rule.flags) & _PASSED_ON:  # 3 (c)
        return _Finding(rule.name, f"flags {flags:#04x}", Verdict.WITHDRAW)
    if rule.from_external and not facts.is_internal:
        return _Finding(rule.name, "from an external peer", rule.from_external)
    why = rule.check(value, facts)
    return _Finding(rule.name, why, rule.on_error) if why else None


def _judge_family(rule: Rule, whole: bytes, value: bytes, facts: Facts) -> _Finding | None:
    """Routes of a family that was not negotiated are left out; the session goes on with those that were."""
    if why := rule.check(value, facts):
        return _Finding(rule.name, why, Verdict.RESET, _OPTIONAL_ERROR, whole)
    family = _family_of(value)
    if family in facts.families:
        return None
    return _Finding(rule.name, f"family {family[0]}/{family[1]}", Verdict.DISCARD)


_ALWAYS_NEEDED = frozenset({ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF})
"""With these four nothing can be missing, whatever the session is."""


def _missing(seen: set[int], facts: Facts, *, has_nlri: bool) -> list[_Finding]:
    """3 (d). NEXT_HOP belongs to the NLRI field only, LOCAL_PREF to internal peers."""
    needed = [ORIGIN, AS_PATH]
    if has_nlri:
        needed.append(NEXT_HOP)
    if facts.is_internal:
        needed.append(LOCAL_PREF)
    return [_Finding(RULES[code].name, "missing", Verdict.WITHDRAW) for code in needed if code not in seen]
