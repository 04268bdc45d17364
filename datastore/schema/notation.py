"""The notation that the tables of this room are written in: what a kind's document may hold, in upstream's own terms.

A table says of each field what a Go struct of upstream's says (JSON name, Go name where it is not the JSON name with a
capital, type, when it is written) and what its CRD adds (allowed values, bounds, default). Nothing here acts on a
document; :mod:`datastore.schema.reading` and :mod:`datastore.validate` do.

When a field is written:

    always    whatever it holds; an absent one as its type's zero ("", 0, false, null)
    filled    unless it is zero: ``natOutgoing: false`` disappears
    given     when the document has it, zero or not (a pointer in Go)

``check`` is upstream's validation tag, verbatim: :mod:`datastore.validate.checks` knows the words.
Source: Calico api/pkg/apis/projectcalico/v3, libcalico-go/lib/apis/internalapi, api/config/crd.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple, TypeAlias


class Boolean(NamedTuple):
    go: str = "bool"


class Text(NamedTuple):
    """``allowed`` lists the only values, ``narrower`` those of a second list that must allow them as well.

    ``pattern`` is a Go regular expression, ``form`` an OpenAPI format.
    """

    go: str = "string"
    allowed: tuple[str, ...] = ()
    narrower: tuple[str, ...] = ()
    shortest: int = 0
    longest: int | None = None
    pattern: str = ""
    form: str = ""


class Number(NamedTuple):
    """An integer of one of Go's sizes; ``low`` and ``high`` are the CRD's bounds, inclusive."""

    go: str = "int"
    low: int | None = None
    high: int | None = None
    allowed: tuple[int, ...] = ()


class Decimal(NamedTuple):
    go: str = "float64"


class Special(NamedTuple):
    """A type that reads and writes its own JSON: :mod:`datastore.schema.special` has one of each."""

    go: str
    pattern: str = ""


class Anything(NamedTuple):
    """JSON that is carried and not looked into."""

    go: str = "v1.FieldsV1"


class Each(NamedTuple):
    """A list. ``is_pointer``: an element may be null; ``named``: the list's type has a name in Go."""

    item: Shape
    least: int = 0
    most: int | None = None
    is_pointer: bool = False
    named: str = ""

    @property
    def go(self) -> str:
        return self.named or f"[]{'*' * self.is_pointer}{self.item.go}"


class Mapping(NamedTuple):
    """An object with any keys."""

    value: Shape

    @property
    def go(self) -> str:
        return f"map[string]{self.value.go}"


class Written(Enum):
    ALWAYS = "always"
    FILLED = "filled"
    GIVEN = "given"


class Field(NamedTuple):
    name: str
    shape: Shape
    written: Written
    go: str
    check: str = ""
    default: Any = None
    is_required: bool = False


class Struct(NamedTuple):
    """``least`` and ``most`` bound how many of the fields are there."""

    go: str
    fields: tuple[Field, ...]
    least: int = 0
    most: int | None = None

    @property
    def name(self) -> str:
        """``IPPoolSpec`` of ``v3.IPPoolSpec``."""
        return self.go.partition(".")[2]


Shape: TypeAlias = "Boolean | Text | Number | Decimal | Special | Anything | Each | Mapping | Struct"

boolean = Boolean()
string = Text()
decimal = Decimal()
anything = Anything()
time = Special("v1.Time")
as_number = Special("numorstring.ASNumber")
port = Special("numorstring.Port")
protocol = Special("numorstring.Protocol")
dscp = Special("numorstring.DSCP")
int_or_string = Special("intstr.IntOrString")
free_duration = Special("v1.Duration")
duration = Special("v1.Duration", r"^([0-9]+(\\.[0-9]+)?(ms|s|m|h))*$")
"""With upstream's pattern, whose doubled backslash forbids a fraction."""


def text(
    go: str = "string",
    *,
    allowed: tuple[str, ...] = (),
    shortest: int = 0,
    longest: int | None = None,
    pattern: str = "",
    form: str = "",
) -> Text:
    return Text(go, allowed, (), shortest, longest, pattern, form)


def enum(go: str, *allowed: str, narrower: tuple[str, ...] = ()) -> Text:
    return Text(go, allowed, narrower)


def words(*choices: str) -> Text:
    """One of these, in capitals or not, or nothing."""
    return Text(pattern=f"^(?i)({'|'.join(choices)})?$")


def number(
    go: str = "int", *, low: int | None = None, high: int | None = None, allowed: tuple[int, ...] = ()
) -> Number:
    return Number(go, low, high, allowed)


def duration_like(pattern: str) -> Special:
    return Special("v1.Duration", pattern)


def each(item: Shape, *, least: int = 0, most: int | None = None, is_pointer: bool = False, named: str = "") -> Each:
    return Each(item, least, most, is_pointer, named)


def mapping(value: Shape) -> Mapping:
    return Mapping(value)


def struct(go: str, *fields: Field, least: int = 0, most: int | None = None) -> Struct:
    return Struct(go, fields, least, most)


def always(name: str, shape: Shape, *, go: str = "", check: str = "", default: Any = None) -> Field:
    return Field(name, shape, Written.ALWAYS, go or _capital(name), check, default)


def filled(
    name: str, shape: Shape, *, go: str = "", check: str = "", default: Any = None, is_required: bool = False
) -> Field:
    return Field(name, shape, Written.FILLED, go or _capital(name), check, default, is_required)


def given(
    name: str, shape: Shape, *, go: str = "", check: str = "", default: Any = None, is_required: bool = False
) -> Field:
    return Field(name, shape, Written.GIVEN, go or _capital(name), check, default, is_required)


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]
