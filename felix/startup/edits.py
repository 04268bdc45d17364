"""What becomes of the pools of an earlier start when the environment says something else now. Pure.

People change calico.yaml and apply it again, and expect the pool to follow; upstream looks at the variables only when
it makes the pool. So start-up notes on each pool that it writes what it wrote, and from which generation of the
DaemonSet, and changes the pool only while it still holds that, and only for a newer generation: pods of the old
generation that start late change nothing back. Whatever a person has set since stays, and is told, with the command
that would give it up. Another network is another pool: the old one is disabled, running pods keep their addresses.
Pools that start-up did not make are never touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datastore.codec import encode
from datastore.names import of_cidr
from datastore.resource import Resource
from datastore.resources import IPPool
from felix.startup import environment, pools
from felix.startup.detect import Interface
from felix.startup.environment import Environ
from felix.startup.pools import FIELDS, Network, variable_of

ANNOTATION = "startup.tortie.dev/wrote"
GENERATION = "POD_TEMPLATE_GENERATION"
"""The variable with the pod's label pod-template-generation, which a DaemonSet counts up with each change."""

Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """``creates`` before ``updates``: there is a pool to take addresses from at every moment. ``said`` of what is done;
    ``overruled``: what the environment says and nobody follows, for as long as that is so.
    """

    creates: Sequence[Resource] = ()
    updates: Sequence[Resource] = ()
    said: Sequence[str] = ()
    overruled: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """For the log."""
        return [*self.said, *self.overruled]


@dataclass(frozen=True, slots=True)
class _Note:
    """``spec``: the fields as they were written; with ``disabled`` among them."""

    generation: int
    spec: Spec


@dataclass(frozen=True, slots=True)
class Asked:
    """What the environment says of one family's pool.

    ``generation``: of the DaemonSet whose pod this is; 0 where there is none, and then nothing is changed.
    ``is_cidr_given``: it names the network; one that start-up chose by itself changes nothing. ``given``: the fields
    that it names; of the others nothing is told.
    """

    pool: IPPool | None
    generation: int
    is_cidr_given: bool
    given: frozenset[str]


def asked(
    environ: Environ,
    version: int,
    *,
    hosts: Iterable[Interface] = (),
    networks: Iterable[Network] = (),
    ula: Network | None = None,
) -> Asked:
    """``hosts``, ``networks`` and ``ula`` as :func:`felix.startup.pools.wanted` takes them. Raises BadEnvironment."""
    return Asked(
        pools.wanted(environ, version, hosts=hosts, networks=networks, ula=ula),
        environment.number(environ, GENERATION, default=0, low=0, high=1 << 62),
        pools.is_cidr_given(environ, version),
        pools.given(environ, version),
    )


def plan(asked: Asked, stored: Iterable[IPPool]) -> Plan:
    """What to write about the pools of the family of what is asked for."""
    wanted, generation = asked.pool, asked.generation
    if wanted is None:
        return Plan()
    pools = [pool for pool in stored if pool.cidr.version == wanted.cidr.version]
    if not pools:
        made = _noted(wanted, generation)
        return Plan(creates=[made], said=[f"pool {made.name} created: {wanted.cidr}, blocks /{wanted.block_size}"])
    own = [(pool, note) for pool in pools if (note := _note_of(pool.resource)) is not None]
    if not own:
        return Plan(overruled=_in_vain(wanted, pools, asked))
    if generation <= max(note.generation for _, note in own):
        return Plan(overruled=_in_vain(wanted, [pool for pool, _ in own], asked))
    may_differ = not asked.is_cidr_given
    same = [each for each in own if each[0].cidr == wanted.cidr or (may_differ and not each[0].disabled)]
    if same:
        return _change(wanted, same[0], own, generation)
    return _move(wanted, own, pools, generation)


def _change(wanted: IPPool, one: tuple[IPPool, _Note], own: Sequence[tuple[IPPool, _Note]], generation: int) -> Plan:
    """The network is the same: the pool follows, and takes its place again if it was disabled for another."""
    pool, note = one
    if edited := _edited(pool, note, wanted):
        return Plan(overruled=edited)
    updated = _noted(_with_fields_of(wanted, pool), generation)
    said = [*_changes(pool, wanted), *_block_size_stays(pool, wanted)]
    if pool.disabled:
        said.append(f"pool {pool.name} {pool.cidr} is enabled again")
    others, more = _disabled([each for each in own if each[0] is not pool], because=wanted, generation=generation)
    return Plan(updates=[updated, *others], said=[*said, *more])


def _move(wanted: IPPool, own: Sequence[tuple[IPPool, _Note]], pools: Sequence[IPPool], generation: int) -> Plan:
    """Another network: another pool, and those that start-up made before give nothing more."""
    in_the_way = [pool for pool in pools if pool.cidr.overlaps(wanted.cidr)]
    variable = variable_of("cidr", wanted.cidr.version)
    if in_the_way:
        other = in_the_way[0]
        return Plan(overruled=[f"{variable}={wanted.cidr} is not taken: it overlaps pool {other.name} {other.cidr}"])
    active = [(pool, note) for pool, note in own if not pool.disabled]
    for pool, note in active:
        if edited := _edited(pool, note, replace(wanted, cidr=pool.cidr)):
            because = f"{variable}={wanted.cidr} is not taken, because pool {pool.name} was changed"
            return Plan(overruled=[*edited, because])
    taken = {pool.name for pool in pools}
    name = wanted.name if wanted.name not in taken else f"{wanted.name}-{of_cidr(wanted.cidr)}"
    made = _noted(replace(wanted, resource=replace(wanted.resource, name=name)), generation)
    disabled, said = _disabled(active, because=wanted, generation=generation)
    return Plan([made], disabled, [f"pool {name} created: {variable} says {wanted.cidr} now", *said])


def _disabled(
    own: Iterable[tuple[IPPool, _Note]], *, because: IPPool, generation: int
) -> tuple[list[Resource], list[str]]:
    updates, said = [], []
    for pool, _ in own:
        if pool.disabled:
            continue
        updates.append(_noted(replace(pool, disabled=True), generation))
        said.append(
            f"pool {pool.name} {pool.cidr} is disabled: pods keep their addresses, new ones are of {because.cidr}"
        )
    return updates, said


# --- who changed what ---------------------------------------------------------------------------------------------


def _edited(pool: IPPool, note: _Note, wanted: IPPool) -> list[str]:
    """Lines about what somebody has set since; nothing when the pool is as it was written, or as it is wanted."""
    spec, asked = _fields(pool), _fields(wanted)
    if spec == dict(note.spec) or spec == {**asked, "disabled": pool.disabled}:
        return []
    return [
        _kept(pool, name, value, asked.get(name, False)) for name, value in spec.items() if value != note.spec.get(name)
    ]


def _in_vain(wanted: IPPool, pools: Sequence[IPPool], asked: Asked) -> list[str]:
    """Lines about what the environment says and nobody follows."""
    pool = next((pool for pool in pools if pool.cidr == wanted.cidr), None) or next(
        (pool for pool in pools if pool.name == wanted.name and not asked.is_cidr_given), None
    )
    if pool is None:
        return []
    note, values = _note_of(pool.resource), _fields(wanted)
    spec = {name: value for name, value in _fields(pool).items() if name in asked.given and value != values.get(name)}
    if note is None or any(value != note.spec.get(name) for name, value in spec.items()):
        return [_kept(pool, name, value, values[name]) for name, value in spec.items()]
    return [
        f"pool {pool.name} keeps {name} {_told(value)}, which generation {note.generation} of the DaemonSet wrote; "
        f"{variable_of(name, pool.cidr.version)} says {_told(values[name])}, "
        f"but this pod is of generation {asked.generation}"
        for name, value in spec.items()
    ]


def _kept(pool: IPPool, name: str, value: Any, asked: Any) -> str:
    patch = json.dumps({"spec": {name: asked}}, separators=(",", ":"))
    variable = variable_of(name, pool.cidr.version) if name in FIELDS else "start-up"
    return (
        f"pool {pool.name} keeps {name} {_told(value)}, as somebody has set it; {variable} says {_told(asked)}. "
        f"To take that: calicoctl patch ippool {pool.name} -p '{patch}'"
    )


def _changes(pool: IPPool, wanted: IPPool) -> list[str]:
    before, after = _fields(pool), _fields(wanted)
    return [
        f"pool {pool.name}: {name} was {_told(before[name])} and is {_told(after[name])}, "
        f"by {variable_of(name, pool.cidr.version)}"
        for name in FIELDS
        if before[name] != after[name]
    ]


def _block_size_stays(pool: IPPool, wanted: IPPool) -> list[str]:
    if pool.block_size == wanted.block_size:
        return []
    variable = variable_of("blockSize", pool.cidr.version)
    return [
        f"pool {pool.name} keeps blocks of /{pool.block_size}: {variable}={wanted.block_size} is for another network"
    ]


def _told(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- the note on a pool -------------------------------------------------------------------------------------------


def _fields(pool: IPPool) -> dict[str, Any]:
    return {
        "ipipMode": pool.ipip_mode.value,
        "vxlanMode": pool.vxlan_mode.value,
        "natOutgoing": pool.nat_outgoing,
        "nodeSelector": pool.node_selector or "all()",
        "disableBGPExport": pool.disable_bgp_export,
        "disabled": pool.disabled,
    }


def _with_fields_of(wanted: IPPool, pool: IPPool) -> IPPool:
    return replace(
        pool,
        ipip_mode=wanted.ipip_mode,
        vxlan_mode=wanted.vxlan_mode,
        nat_outgoing=wanted.nat_outgoing,
        node_selector=wanted.node_selector,
        disable_bgp_export=wanted.disable_bgp_export,
        disabled=False,
    )


def _noted(pool: IPPool, generation: int) -> Resource:
    """Modes are written as they are also where they are Never: people look for them in what kubectl shows."""
    fields = _fields(pool)
    note = json.dumps({"generation": generation, "spec": fields}, separators=(",", ":"))
    resource = encode(pool)
    spec = {**resource.spec, "ipipMode": fields["ipipMode"], "vxlanMode": fields["vxlanMode"]}
    return replace(resource, spec=spec, annotations={**resource.annotations, ANNOTATION: note})


def _note_of(resource: Resource) -> _Note | None:
    """None for a pool that start-up did not write, and for a note that somebody has broken."""
    try:
        raw = json.loads(resource.annotations[ANNOTATION])
        return _Note(int(raw["generation"]), dict(raw["spec"]))
    except (KeyError, TypeError, ValueError):
        return None
