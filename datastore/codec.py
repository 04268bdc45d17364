"""Typed values ⇄ documents.

A typed value is a frozen dataclass whose fields each name their place in the document (``spec("ipipMode", ...)``) and
how the JSON there is read and written. It keeps the document that it came from, so that writing it changes only the
fields that we know: what a newer Calico put beside them stays.

Reading is forgiving in what may be absent (the field's default) and strict in what is there: a value that cannot be
read raises Rejected with its path, and the caller leaves that one object out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from enum import Enum
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any, Generic, Protocol, TypeVar

from datastore.resource import Resource
from datastore.store import Rejected

T = TypeVar("T")
E = TypeVar("E", bound=Enum)


class Typed(Protocol):
    @property
    def resource(self) -> Resource: ...


V = TypeVar("V", bound=Typed)


@dataclass(frozen=True, slots=True)
class Shape(Generic[T]):
    """How one JSON value is read and written. ``read`` raises ValueError, TypeError or KeyError."""

    read: Callable[[Any], T]
    write: Callable[[T], Any]


def _exactly(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"must be {kind.__name__}, not {value!r}")
        return value

    return read


def _same(value: Any) -> Any:
    return value


text: Shape[str] = Shape(_exactly(str), _same)
number: Shape[int] = Shape(_exactly(int), _same)
boolean: Shape[bool] = Shape(_exactly(bool), _same)
document: Shape[Mapping[str, Any]] = Shape(_exactly(dict), dict)
network: Shape[IPv4Network | IPv6Network] = Shape(lambda raw: ip_network(raw, strict=False), str)
address: Shape[IPv4Address | IPv6Address] = Shape(ip_address, str)
interface: Shape[IPv4Interface | IPv6Interface] = Shape(ip_interface, str)


def enum(kind: type[E]) -> Shape[E]:
    return Shape(kind, lambda member: member.value)


def each(shape: Shape[T]) -> Shape[tuple[T, ...]]:
    def read(values: Sequence[Any]) -> tuple[T, ...]:
        return tuple(shape.read(value) for value in _exactly(list)(values))

    return Shape(read, lambda values: [shape.write(value) for value in values])


def optional(shape: Shape[T]) -> Shape[T | None]:
    return Shape(
        lambda raw: None if raw is None or raw == "" else shape.read(raw),
        lambda value: None if value is None else shape.write(value),
    )


def spec(path: str, shape: Shape[Any], default: Any = MISSING, *, always: bool = False) -> Any:
    """A field of the typed value that lives at ``path`` (dots separate levels) of the document's spec.

    A value equal to the default is not written unless ``always``: upstream omits such fields too, and where its
    schema requires them we say so here. ``default=dict`` means an empty mapping.
    """
    return _place(("spec", *path.split(".")), shape, default, always)


def status(path: str, shape: Shape[Any], default: Any = MISSING) -> Any:
    """The same for the document's status."""
    return _place(("status", *path.split(".")), shape, default, False)


def _place(path: tuple[str, ...], shape: Shape[Any], default: Any, always: bool) -> Any:
    metadata = {"place": _Place(path, shape, always)}
    if default is MISSING:
        return field(metadata=metadata)
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class _Place:
    path: tuple[str, ...]
    shape: Shape[Any]
    always: bool


@cache
def _places(kind: type) -> tuple[tuple[str, Any, _Place], ...]:
    return tuple((f.name, _default(f), f.metadata["place"]) for f in fields(kind) if "place" in f.metadata)


def _default(of: Field[Any]) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()


def decode(kind: type[V], resource: Resource) -> V:
    """The typed value of a document. Raises Rejected, naming the field, when something there cannot be read."""
    values: dict[str, Any] = {}
    for name, default, place in _places(kind):
        raw = _at(resource, place.path)
        if raw is None:
            if default is MISSING:
                raise Rejected(_dotted(resource, place.path), "must be specified")
            continue
        try:
            values[name] = place.shape.read(raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Rejected(_dotted(resource, place.path), str(error)) from None
    make: Callable[..., V] = kind
    return make(resource=resource, **values)


def encode(value: Typed) -> Resource:
    """The document that ``value`` came from, with what we know of it as ``value`` now says."""
    resource = value.resource
    halves: dict[str, Any] = {"spec": dict(resource.spec), "status": dict(resource.status or {})}
    for name, default, place in _places(type(value)):
        mine = getattr(value, name)
        before = _at(resource, place.path)
        if before is not None and place.shape.read(before) == mine:
            continue
        omit = not place.always and default is not MISSING and mine == default
        _put(halves, place.path, None if omit else place.shape.write(mine))
    return replace(resource, spec=halves["spec"], status=halves["status"] or resource.status)


def _at(resource: Resource, path: tuple[str, ...]) -> Any:
    here: Any = resource.spec if path[0] == "spec" else resource.status
    for step in path[1:]:
        if not isinstance(here, Mapping):
            return None
        here = here.get(step)
    return here


def _put(tree: dict[str, Any], path: tuple[str, ...], raw: Any) -> None:
    """Set or (None) remove one leaf; levels on the way are copied, and those left empty go too."""
    step, rest = path[0], path[1:]
    if not rest:
        if raw is None:
            tree.pop(step, None)
        else:
            tree[step] = raw
        return
    branch = dict(tree.get(step) or {})
    _put(branch, rest, raw)
    if branch or step in ("spec", "status"):
        tree[step] = branch
    else:
        tree.pop(step, None)


def _dotted(resource: Resource, path: tuple[str, ...]) -> str:
    return f"{resource.kind}({resource.name}).{'.'.join(path)}"


def to_json(resource: Resource) -> dict[str, Any]:
    """The ``projectcalico.org/v3`` object, keys in upstream's order. The revision is the store's, not the object's."""
    metadata: dict[str, Any] = {"name": resource.name}
    if resource.namespace:
        metadata["namespace"] = resource.namespace
    if resource.uid:
        metadata["uid"] = resource.uid
    if resource.created:
        metadata["creationTimestamp"] = resource.created
    if resource.labels:
        metadata["labels"] = dict(resource.labels)
    if resource.annotations:
        metadata["annotations"] = dict(resource.annotations)
    metadata.update(resource.metadata)
    whole: dict[str, Any] = {"kind": resource.kind, "apiVersion": "projectcalico.org/v3", "metadata": metadata}
    whole["spec"] = resource.spec
    if resource.status is not None:
        whole["status"] = resource.status
    return whole


_KNOWN_METADATA = ("name", "namespace", "uid", "creationTimestamp", "labels", "annotations", "resourceVersion")


def from_json(whole: Mapping[str, Any], *, revision: str = "") -> Resource:
    """The document of a ``projectcalico.org/v3`` object. ``revision`` overrides what its metadata says."""
    metadata = whole.get("metadata") or {}
    return Resource(
        kind=whole["kind"],
        name=metadata.get("name") or "",
        namespace=metadata.get("namespace") or "",
        spec=whole.get("spec") or {},
        status=whole.get("status"),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        metadata={key: value for key, value in metadata.items() if key not in _KNOWN_METADATA},
        uid=metadata.get("uid") or "",
        created=metadata.get("creationTimestamp") or "",
        revision=revision or metadata.get("resourceVersion") or "",
    )
