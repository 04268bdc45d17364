"""Which etcd key each object has and what stands there: Calico's own layout, to the byte.

Pure. Most objects are their ``projectcalico.org/v3`` JSON under ``/calico/resources``. IPAM's are not: blocks,
affinities and handles have keys of their own, short values and neither uid nor creation time, and part of what the
object says stands in the key alone. So a name does not always tell the key: :func:`keys_of` gives all that a name may
mean, :func:`key_for` the one that a whole object has.

There are two IPAM configurations: IPAM reads ``/calico/ipam/v2/config`` and calicoctl's IPAMConfiguration is another
key, which Calico's IPAM never reads. Here they are one object: the first says what it holds, the second who it is, and
both are written together.

Source: Calico libcalico-go/lib/backend/model, and what it was seen to store (tests/golden/etcd.json).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple

from datastore import names
from datastore.codec import from_json, to_json
from datastore.resource import KINDS, Key, Resource
from datastore.store import Rejected

Network = IPv4Network | IPv6Network

ROOT = "/calico/"
_RESOURCES = "/calico/resources/v3/projectcalico.org/"
_BLOCKS = "/calico/ipam/v2/assignment/"
_AFFINITIES = "/calico/ipam/v2/"
_HANDLES = "/calico/ipam/v2/handle/"
CONFIG = b"/calico/ipam/v2/config"
CONFIG_MIRROR = b"/calico/resources/v3/projectcalico.org/ipamconfigurations/default"
CONFIG_KEY = Key("IPAMConfiguration", "default")

_OWNERS = ("host", "virtual")
"""What an affinity may be to."""


class Unreadable(Exception):
    """What stands under a key is not what this layout writes there."""


class Span(NamedTuple):
    """The keys from ``start`` to before ``end``."""

    start: bytes
    end: bytes


def span_of(prefix: str) -> Span:
    """All keys that begin with ``prefix``."""
    start = prefix.encode()
    return Span(start, start[:-1] + bytes((start[-1] + 1,)))


def keys_of_kind(kind: str, *, namespace: str = "", node: str = "") -> Span:
    """Where all of a kind are. A filter that the keys cannot express is left to the reader."""
    match kind:
        case "BlockAffinity" if node:
            return span_of(f"{_AFFINITIES}host/{node}/")
        case "BlockAffinity":
            return Span(f"{_AFFINITIES}host/".encode(), f"{_AFFINITIES}virtual0".encode())
        case "IPAMBlock":
            return span_of(_BLOCKS)
        case "IPAMHandle":
            return span_of(_HANDLES)
        case "IPAMConfiguration":
            return Span(CONFIG, CONFIG + b"\0")
    folder = f"{_RESOURCES}{KINDS[kind].plural}/"
    return span_of(f"{folder}{namespace}/" if namespace and KINDS[kind].is_namespaced else folder)


# --- keys ---------------------------------------------------------------------------------------------------------


def key_for(resource: Resource) -> bytes:
    """Where it stands. Raises Rejected for what this layout has no place for."""
    spec = resource.spec
    match resource.kind:
        case "BlockAffinity":
            owner, node, cidr = spec.get("type") or "host", spec.get("node"), _network(spec.get("cidr"))
            if not node or cidr is None or owner not in _OWNERS or names.of_affinity(node, cidr) != resource.name:
                raise Rejected(str(resource.key), "an affinity is named after its node and its block")
            return _affinity_key(owner, node, cidr)
        case "IPAMHandle":
            handle = spec.get("handleID") or resource.name
            if names.of_handle(handle) != resource.name:
                raise Rejected(str(resource.key), f"its handleID is {handle}")
            return _checked(f"{_HANDLES}{handle}", handle)
    return _plain_key(resource.key)


def keys_of(key: Key) -> tuple[bytes, ...]:
    """Every key that an object of this name may have, but for :func:`spellings`. Raises Rejected."""
    if key.kind == "BlockAffinity":
        return tuple(
            _affinity_key(owner, node, cidr) for node, cidr in _affinities_named(key.name) for owner in _OWNERS
        )
    if key.kind == "IPAMHandle":
        return (_checked(f"{_HANDLES}{key.name}", key.name),)
    return (_plain_key(key),)


def spellings(key: Key) -> tuple[Span, ...]:
    """Where else to look for a name that does not give its key away.

    A handle's name is in small letters and its key as it was given: the others begin like the name up to their first
    capital. A long affinity's name is cut and hashed: all affinities.
    """
    if key.kind == "IPAMHandle":
        name = key.name
        return tuple(
            span_of(f"{_HANDLES}{name[:at]}{letter.upper()}")
            for at, letter in enumerate(name)
            if letter.isascii() and letter.isalpha()
        )
    if key.kind == "BlockAffinity" and len(key.name) > 200:
        return (keys_of_kind("BlockAffinity"),)
    return ()


def object_at(key: bytes) -> Key | None:
    """The object that a key stands for; None for what is none of ours."""
    text = key.decode(errors="replace")
    if text.startswith(_RESOURCES):
        return _resource_at(text[len(_RESOURCES) :].split("/"))
    if key == CONFIG:
        return CONFIG_KEY
    if text.startswith(_BLOCKS):
        cidr = _cidr_at(text.rpartition("/")[2])
        return Key("IPAMBlock", names.of_cidr(cidr)) if cidr is not None else None
    if text.startswith(_HANDLES):
        return Key("IPAMHandle", names.of_handle(text[len(_HANDLES) :]))
    affinity = _affinity_at(text)
    return Key("BlockAffinity", names.of_affinity(affinity.node, affinity.cidr)) if affinity else None


_KIND_OF_PLURAL = {kind.plural: kind for kind in KINDS.values()}


def _resource_at(parts: list[str]) -> Key | None:
    kind = _KIND_OF_PLURAL.get(parts[0])
    if kind is None or len(parts) != 2 + kind.is_namespaced:
        return None
    return Key(kind.name, parts[-1], parts[1] if kind.is_namespaced else "")


def _plain_key(key: Key) -> bytes:
    if key == CONFIG_KEY:
        return CONFIG
    if key.kind == "IPAMBlock":
        cidr = block_named(key.name)
        if cidr is None:
            raise Rejected(str(key), "a block is named after its addresses, as 10-65-0-0-26")
        return f"{_BLOCKS}ipv{cidr.version}/block/{_dashed(cidr)}".encode()
    kind = KINDS[key.kind]
    if kind.is_namespaced:
        return _checked(f"{_RESOURCES}{kind.plural}/{key.namespace}/{key.name}", key.namespace, key.name)
    return _checked(f"{_RESOURCES}{kind.plural}/{key.name}", key.name)


def _checked(path: str, *segments: str) -> bytes:
    for segment in segments:
        if not segment or "/" in segment:
            raise Rejected("metadata.name", f"{segment!r} cannot be part of a key")
    return path.encode()


def _affinity_key(owner: str, node: str, cidr: Network) -> bytes:
    return _checked(f"{_AFFINITIES}{owner}/{node}/ipv{cidr.version}/block/{_dashed(cidr)}", node)


def _dashed(cidr: Network) -> str:
    return str(cidr).replace("/", "-")


def _cidr_at(segment: str) -> Network | None:
    return _network(segment.replace("-", "/"))


def _network(text: Any) -> Network | None:
    try:
        return ip_network(text) if isinstance(text, str) and "/" in text else None
    except ValueError:
        return None


class _Affinity(NamedTuple):
    owner: str
    node: str
    cidr: Network


def _affinity_at(path: str) -> _Affinity | None:
    parts = path.removeprefix(_AFFINITIES).split("/")
    if len(parts) != 5 or parts[0] not in _OWNERS or parts[3] != "block":
        return None
    cidr = _cidr_at(parts[4])
    return _Affinity(parts[0], parts[1], cidr) if cidr is not None else None


def block_named(name: str) -> Network | None:
    """The block whose name (:func:`datastore.names.of_cidr`) it is."""
    address, _, length = name.rpartition("-")
    for separator in ".:":
        cidr = _network(f"{address.replace('-', separator)}/{length}")
        if cidr is not None and names.of_cidr(cidr) == name:
            return cidr
    return None


def _affinities_named(name: str) -> Iterable[tuple[str, Network]]:
    """Node and block of every affinity that has this name: where the one ends is not always certain with IPv6."""
    for at, letter in enumerate(name):
        if letter == "-" and at and (cidr := block_named(name[at + 1 :])) is not None:
            yield name[:at], cidr


# --- values -------------------------------------------------------------------------------------------------------

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def _text(value: Mapping[str, Any]) -> bytes:
    """As Go writes it: shortest, and with these characters escaped, which stand only inside of strings."""
    return _encoder.encode(value).translate(_GO_ESCAPES).encode(errors="surrogatepass")


def value_of(resource: Resource) -> bytes:
    """What stands under its key."""
    write = _WRITERS.get(resource.kind)
    if write is None:
        return _text(_document(resource))
    return _text(write(resource.spec))


def mirror_of(resource: Resource) -> bytes:
    """What stands under CONFIG_MIRROR beside an IPAMConfiguration."""
    return _text(_document(resource))


def read(key: bytes, value: bytes, *, revision: str) -> Resource:
    """The object that stands there. Raises Unreadable."""
    named = object_at(key)
    if named is None:
        raise Unreadable("no object of ours has this key")
    try:
        whole = json.loads(value) if value else {}
    except ValueError as error:
        raise Unreadable(f"it is not JSON: {error}") from None
    if not isinstance(whole, dict):
        raise Unreadable("it is not a JSON object")
    parse = _READERS.get(named.kind) if key != CONFIG_MIRROR else None
    if parse is None:
        return _read_document(named, whole, revision)
    spec = parse(key.decode(), whole)
    return Resource(named.kind, named.name, named.namespace, spec=spec, revision=revision)


def mirrored(config: Resource, mirror: Resource | None) -> Resource:
    """The IPAM configuration with the identity that its other key has."""
    if mirror is None:
        return config
    return Resource(
        config.kind,
        config.name,
        spec=config.spec,
        labels=mirror.labels,
        annotations=mirror.annotations,
        metadata=mirror.metadata,
        uid=mirror.uid,
        created=mirror.created,
        revision=config.revision,
    )


_METADATA_ORDER = ("name", "generateName", "namespace", "uid", "creationTimestamp")


def _document(resource: Resource) -> dict[str, Any]:
    whole = to_json(resource)
    if "generateName" in whole["metadata"]:
        metadata = whole["metadata"]
        first = {name: metadata[name] for name in _METADATA_ORDER if name in metadata}
        whole["metadata"] = {**first, **metadata}
    return whole


def _read_document(named: Key, whole: dict[str, Any], revision: str) -> Resource:
    for part in ("metadata", "spec"):
        if not isinstance(whole.get(part) or {}, dict):
            raise Unreadable(f"its {part} is not a JSON object")
    whole = {**whole, "kind": named.kind}
    try:
        found = from_json(whole, revision=revision)
    except (TypeError, AttributeError, LookupError) as error:
        raise Unreadable(str(error)) from None
    if found.key != named:
        raise Unreadable(f"it says that it is {found.key}")
    return found


_BLOCK_ORDER = (
    "cidr",
    "affinity",
    "affinity_claim_time",
    "allocations",
    "unallocated",
    "attributes",
    "sequenceNumber",
    "sequenceNumberForAllocation",
    "deleted",
    "hostAffinity",
)


def _write_block(spec: Mapping[str, Any]) -> dict[str, Any]:
    whole = {"affinity": None, **spec}
    whole.pop("strictAffinity", None)  # Kubernetes' form alone has it, and nobody reads it
    if "affinityClaimTime" in whole:
        whole["affinity_claim_time"] = whole.pop("affinityClaimTime")
    if isinstance(sequences := whole.get("sequenceNumberForAllocation"), dict):
        whole["sequenceNumberForAllocation"] = dict(sorted(sequences.items()))
    if whole.get("attributes"):
        whole["attributes"] = [_sorted_owner(attribute) for attribute in whole["attributes"]]
    return {**{name: whole[name] for name in _BLOCK_ORDER if name in whole}, **whole}


def _sorted_owner(attribute: Mapping[str, Any]) -> Mapping[str, Any]:
    if not attribute.get("secondary"):
        return attribute
    return {**attribute, "secondary": dict(sorted(attribute["secondary"].items()))}


def _read_block(path: str, whole: dict[str, Any]) -> dict[str, Any]:
    spec = dict(whole)
    if "affinity_claim_time" in spec:
        spec["affinityClaimTime"] = spec.pop("affinity_claim_time")
    if spec.get("affinity") is None:
        spec.pop("affinity", None)
        if host := spec.pop("hostAffinity", None):  # written before Calico 2.6
            spec["affinity"] = f"host:{host}"
    return spec


def _write_affinity(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"state": spec.get("state", ""), "deleted": spec.get("deleted") in (True, "true")}


def _read_affinity(path: str, whole: dict[str, Any]) -> dict[str, Any]:
    """An empty value is an affinity of long ago, and confirmed."""
    affinity = _affinity_at(path)
    assert affinity is not None
    return {
        "state": whole.get("state", ""),
        "node": affinity.node,
        "type": affinity.owner,
        "cidr": str(affinity.cidr),
        "deleted": whole.get("deleted", False),
    }


def _write_handle(spec: Mapping[str, Any]) -> dict[str, Any]:
    blocks = dict(sorted((spec.get("block") or {}).items()))
    return {"block": blocks, "deleted": spec.get("deleted") in (True, "true")}


def _read_handle(path: str, whole: dict[str, Any]) -> dict[str, Any]:
    blocks, deleted = whole.get("block") or {}, whole.get("deleted", False)
    return {"handleID": path[len(_HANDLES) :], "block": blocks, "deleted": deleted}


_CONFIG_FIELDS = {
    "strict_affinity": "strictAffinity",
    "auto_allocate_blocks": "autoAllocateBlocks",
    "maxBlocksPerHost": "maxBlocksPerHost",
    "kubeVirtVMAddressPersistence": "kubeVirtVMAddressPersistence",
    "ipCooldownSeconds": "ipCooldownSeconds",
}


def _write_config(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What is zero is left out; what is absent is not zero where the default is another."""
    whole = {"autoAllocateBlocks": True, **spec}
    rest = {name: value for name, value in spec.items() if name not in _CONFIG_FIELDS.values()}
    return {stored: whole[name] for stored, name in _CONFIG_FIELDS.items() if whole.get(name)} | rest


def _read_config(path: str, whole: dict[str, Any]) -> dict[str, Any]:
    """What is absent is zero, also where the default is another."""
    rest = {name: value for name, value in whole.items() if name not in _CONFIG_FIELDS}
    flags = {name: bool(whole.get(name)) for name in ("strict_affinity", "auto_allocate_blocks")}
    found = {**{name: whole[name] for name in _CONFIG_FIELDS if name in whole}, **flags}
    return {_CONFIG_FIELDS[name]: found[name] for name in _CONFIG_FIELDS if name in found} | rest


_WRITERS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "BlockAffinity": _write_affinity,
    "IPAMBlock": _write_block,
    "IPAMConfiguration": _write_config,
    "IPAMHandle": _write_handle,
}
_READERS: Mapping[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
    "BlockAffinity": _read_affinity,
    "IPAMBlock": _read_block,
    "IPAMConfiguration": _read_config,
    "IPAMHandle": _read_handle,
}
HAS_IDENTITY = frozenset(KINDS) - frozenset(_WRITERS)
"""The kinds whose objects have a uid and a creation time here."""
