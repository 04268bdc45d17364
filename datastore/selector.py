"""Calico's label selectors: ``role == "db" && !has(legacy)``.

Text becomes a frozen tree that says whether a set of labels matches it and prints itself in the one canonical form from
which Calico derives identifiers. Pure; what is selected, and by whom, is the caller's business.

    selector := nothing (which means all()) | or
    or       := and ("||" and)*
    and      := term ("&&" term)*
    term     := "!"* ("(" or ")" | "all()" | "global()" | "has(" label ")" | label comparison)
    comparison := ("==" | "!=" | "contains" | "starts with" | "ends with") text | ("in" | "not in") "{" [text, ...] "}"
    label    := 1 to 512 of A-Z a-z 0-9 _ . / -      text := "..." or '...', without escapes

An operator's words need no blank between them (``startswith``), and they are operators only after a label: ``in in
{"in"}`` is good. Only space and tab are blank. A label that is absent fulfils ``!=`` and ``not in`` and nothing else.

Source: Calico libcalico-go/lib/selector (tokenizer, parser); its own test vectors are in tests/unit/datastore.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from operator import contains, eq, ne

Labels = Mapping[str, str]

LONGEST_LABEL = 512
DEEPEST_NESTING = 50
"""Parentheses inside parentheses. Upstream has no limit; without one, a selector could exhaust our stack."""


@dataclass(eq=False)
class Malformed(ValueError):
    """The user's mistake. ``at`` is the offset of the character in ``text`` where reading had to stop, from 0."""

    text: str
    at: int
    why: str

    def __str__(self) -> str:
        where = f"at character {self.at + 1}" if self.at < len(self.text) else "at the end"
        return f"{self.why} {where} of selector {self.text!r}"


class Operator(Enum):
    EQUALS = "=="
    DIFFERS = "!="
    CONTAINS = "contains"
    STARTS_WITH = "starts with"
    ENDS_WITH = "ends with"


_HOLDS: Mapping[Operator, Callable[[str, str], bool]] = {
    Operator.EQUALS: eq,
    Operator.DIFFERS: ne,
    Operator.CONTAINS: contains,
    Operator.STARTS_WITH: str.startswith,
    Operator.ENDS_WITH: str.endswith,
}


@dataclass(frozen=True, slots=True)
class All:
    def matches(self, labels: Labels) -> bool:
        return True

    def __str__(self) -> str:
        return "all()"


@dataclass(frozen=True, slots=True)
class Global:
    """Matches like all(); only a policy rule's namespace selector gives it a meaning of its own."""

    def matches(self, labels: Labels) -> bool:
        return True

    def __str__(self) -> str:
        return "global()"


@dataclass(frozen=True, slots=True)
class Has:
    label: str

    def matches(self, labels: Labels) -> bool:
        return self.label in labels

    def __str__(self) -> str:
        return f"has({self.label})"


@dataclass(frozen=True, slots=True)
class Compare:
    label: str
    operator: Operator
    value: str

    def matches(self, labels: Labels) -> bool:
        if self.label not in labels:
            return self.operator is Operator.DIFFERS
        return _HOLDS[self.operator](labels[self.label], self.value)

    def __str__(self) -> str:
        return f"{self.label} {self.operator.value} {_quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """``label in {...}``, or ``label not in {...}``. ``values`` are sorted and each is there once."""

    label: str
    values: tuple[str, ...]
    is_negated: bool = False

    def matches(self, labels: Labels) -> bool:
        return (self.label in labels and labels[self.label] in self.values) != self.is_negated

    def __str__(self) -> str:
        return f"{self.label} {'not in' if self.is_negated else 'in'} {{{', '.join(map(_quoted, self.values))}}}"


@dataclass(frozen=True, slots=True)
class Not:
    operand: Selector

    def matches(self, labels: Labels) -> bool:
        return not self.operand.matches(labels)

    def __str__(self) -> str:
        return f"!{self.operand}"


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple[Selector, ...]

    def matches(self, labels: Labels) -> bool:
        return all(operand.matches(labels) for operand in self.operands)

    def __str__(self) -> str:
        return f"({' && '.join(map(str, self.operands))})"


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple[Selector, ...]

    def matches(self, labels: Labels) -> bool:
        return any(operand.matches(labels) for operand in self.operands)

    def __str__(self) -> str:
        return f"({' || '.join(map(str, self.operands))})"


Selector = All | Global | Has | Compare | OneOf | Not | And | Or


def unique_id(selector: Selector) -> str:
    """Upstream's short name of a selector, in IP sets for example: a hash of the canonical form."""
    digest = hashlib.sha224(f"s:{selector}".encode()).digest()
    return "s:" + urlsafe_b64encode(digest).decode().rstrip("=")


@lru_cache(maxsize=4096)
def parse(text: str) -> Selector:
    """The selector that ``text`` writes. Raises Malformed, which says where and what was expected."""
    reader = _Reader(text)
    if reader.kind == "end":
        return All()
    selector = _read_or(reader, depth=0)
    if reader.kind != "end":
        raise reader.malformed("expected && or || or the end")
    return selector


def _quoted(value: str) -> str:
    """There are no escapes: a text can hold one of the two quotation marks, so the other one goes around it."""
    mark = "'" if '"' in value else '"'
    return f"{mark}{value}{mark}"


_LABEL = r"[A-Za-z0-9_./-]"
_TOKEN = re.compile(
    rf"""(?P<has>has\([ \t]*(?P<of>{_LABEL}+)[ \t]*\))
    | (?P<all>all\([ \t]*\)) | (?P<global>global\([ \t]*\))
    | (?P<unfinished>(?:has|all|global)\()
    | (?P<label>{_LABEL}+)
    | "(?P<double>[^"]*)" | '(?P<single>[^']*)'
    | (?P<sign>==|!=|&&|\|\||[!(){{}},])""",
    re.VERBOSE,
)
_OPERATOR = re.compile(
    rf"""(?: (?P<equals>==) | (?P<differs>!=)
    | (?: (?P<contains>contains) | (?P<starts>starts[ \t]*with) | (?P<ends>ends[ \t]*with)
        | (?P<notin>not[ \t]*in) | (?P<in>in) ) (?!{_LABEL}) )""",
    re.VERBOSE,
)
_BLANK = re.compile(r"[ \t]*")
_OPERATORS = {
    "equals": Operator.EQUALS,
    "differs": Operator.DIFFERS,
    "contains": Operator.CONTAINS,
    "starts": Operator.STARTS_WITH,
    "ends": Operator.ENDS_WITH,
}


class _Reader:
    """One token ahead. ``kind`` is a name from _TOKEN, ``text`` for a quoted one, a sign itself, or ``end``."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._next = 0
        self.advance()

    def advance(self) -> None:
        if self._has_ended():
            self.kind, self.value = "end", ""
            return
        found = _TOKEN.match(self.source, self.at)
        if found is None:
            raise self.malformed(_why_no_token(self.source[self.at]))
        self.kind, self.value = _token(found)
        if self.kind == "unfinished":
            raise self.malformed(f"expected {found[0]}{'label' if found[0] == 'has(' else ''})")
        if len(self.value) > LONGEST_LABEL and self.kind in ("label", "has"):
            raise self.malformed(f"a label may have {LONGEST_LABEL} characters, not {len(self.value)},")
        self._next = found.end()

    def take_operator(self) -> str:
        """The operator after the label that was just read, and on to what follows it."""
        found = None if self._has_ended() else _OPERATOR.match(self.source, self.at)
        if found is None:
            raise self.malformed(f"expected an operator after label {self.value}")
        self._next = found.end()
        self.advance()
        return str(found.lastgroup)

    def take(self, kind: str, expected: str) -> str:
        if self.kind != kind:
            raise self.malformed(f"expected {expected}")
        value = self.value
        self.advance()
        return value

    def malformed(self, why: str) -> Malformed:
        return Malformed(self.source, self.at, why)

    def _has_ended(self) -> bool:
        blank = _BLANK.match(self.source, self._next)
        self.at = blank.end() if blank else self._next
        return self.at == len(self.source)


def _token(found: re.Match[str]) -> tuple[str, str]:
    match found.lastgroup:
        case "double" | "single" as quoted:
            return "text", found[quoted]
        case "has":
            return "has", found["of"]
        case "sign":
            return found[0], found[0]
        case kind:
            return str(kind), found[0]


def _why_no_token(character: str) -> str:
    if character in "\"'":
        return "unterminated text"
    if character in "=&|":
        return f"expected {character * 2}"
    return "expected a label, has(), all(), ! or ("


def _read_or(reader: _Reader, *, depth: int) -> Selector:
    operands = [_read_and(reader, depth=depth)]
    while reader.kind == "||":
        reader.advance()
        operands.append(_read_and(reader, depth=depth))
    return operands[0] if len(operands) == 1 else Or(tuple(operands))


def _read_and(reader: _Reader, *, depth: int) -> Selector:
    operands = [_read_term(reader, depth=depth)]
    while reader.kind == "&&":
        reader.advance()
        operands.append(_read_term(reader, depth=depth))
    return operands[0] if len(operands) == 1 else And(tuple(operands))


def _read_term(reader: _Reader, *, depth: int) -> Selector:
    is_negated = False
    while reader.kind == "!":
        is_negated = not is_negated
        reader.advance()
    term = _read_primary(reader, depth=depth)
    return Not(term) if is_negated else term


def _read_primary(reader: _Reader, *, depth: int) -> Selector:
    match reader.kind:
        case "(":
            return _read_group(reader, depth=depth + 1)
        case "all":
            reader.advance()
            return All()
        case "global":
            reader.advance()
            return Global()
        case "has":
            return Has(reader.take("has", "has()"))
        case "label":
            return _read_comparison(reader)
    raise reader.malformed("expected a label, has(), all(), ! or (")


def _read_group(reader: _Reader, *, depth: int) -> Selector:
    if depth > DEEPEST_NESTING:
        raise reader.malformed(f"more than {DEEPEST_NESTING} parentheses inside each other")
    reader.advance()
    inner = _read_or(reader, depth=depth)
    reader.take(")", "a closing )")
    return inner


def _read_comparison(reader: _Reader) -> Selector:
    label = reader.value
    operator = reader.take_operator()
    if operator in ("in", "notin"):
        return OneOf(label, _read_set(reader), is_negated=operator == "notin")
    return Compare(label, _OPERATORS[operator], reader.take("text", 'a quoted text such as "value"'))


def _read_set(reader: _Reader) -> tuple[str, ...]:
    """A comma after the last one is allowed, and so is the empty set."""
    reader.take("{", 'a set such as {"a", "b"}')
    values = set()
    while reader.kind == "text":
        values.add(reader.take("text", "text"))
        if reader.kind != ",":
            break
        reader.advance()
    reader.take("}", "a closing }")
    return tuple(sorted(values))
