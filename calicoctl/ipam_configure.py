"""``calicoctl ipam configure``: how addresses are given out, in the whole cluster.

It writes what is asked for and nothing else: what was never set keeps its default.
Source: Calico calicoctl/commands/ipam/configure.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes, Words, truth
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.resource import Key, Resource
from datastore.store import Conflict, Exists, Missing, Rejected, Store, StoreError

USAGE = Usage(
    "",
    "Sets how addresses are given out. Settings that are not named stay as they are.",
    "# No node uses addresses of another node's block.\ncalicoctl ipam configure --strictaffinity=true",
    (
        CONFIG,
        Flag("strictaffinity", "Whether a block's addresses are for its own node only: true or false."),
        Flag("max-blocks-per-host", "How many blocks a node may own."),
        Flag("kubevirt-ip-persistence", "Whether KubeVirt's machines keep their addresses: Enabled or Disabled."),
        Flag("ip-cooldown-seconds", "How long an address rests before it is given out again.", "", Takes.NUMBER, "-1"),
    ),
)

_KEY = Key("IPAMConfiguration", "default")
_TRIES = 5


class Setting(NamedTuple):
    """``called`` is upstream's name for it."""

    field: str
    called: str
    value: Any


def run(terminal: Terminal) -> None:
    wanted = list(_settings(terminal.words))
    if not wanted:
        raise Failure("at least one configuration option must be specified")
    terminal.with_store(lambda store: _set(store, {each.field: each.value for each in wanted}))
    for each in wanted:
        shown = str(each.value).lower() if isinstance(each.value, bool) else each.value
        terminal.say(f"Successfully set {each.called} to: {shown}")


def _settings(words: Words) -> Iterator[Setting]:
    if text := words.text("strictaffinity"):
        if truth(text) is None:
            raise Failure("invalid value. Use true or false to set strictaffinity")
        yield Setting("strictAffinity", "StrictAffinity", truth(text))
    if text := words.text("max-blocks-per-host"):
        if not text.removeprefix("-").removeprefix("+").isdecimal():
            raise Failure("invalid value for maxblockhost. Use a valid number")
        yield Setting("maxBlocksPerHost", "MaxBlocksPerHost", int(text))
    if text := words.text("kubevirt-ip-persistence"):
        if text not in ("Enabled", "Disabled"):
            raise Failure("invalid value for --kubevirt-ip-persistence. Use Enabled or Disabled")
        yield Setting("kubeVirtVMAddressPersistence", "KubeVirtVMAddressPersistence", text)
    if (seconds := words.number("ip-cooldown-seconds")) >= 0:
        yield Setting("ipCooldownSeconds", "IPCooldownSeconds", seconds)


async def _set(store: Store, fields: Mapping[str, Any]) -> None:
    for _ in range(_TRIES):
        try:
            await _set_once(store, fields)
            return
        except (Conflict, Exists):
            continue
        except StoreError as error:
            raise Failure(f"error: {error}") from None
    raise Failure(f"error: {Conflict(_KEY)}")


_DEFAULTS: Mapping[str, Any] = {
    "strictAffinity": False,
    "autoAllocateBlocks": True,
    "kubeVirtVMAddressPersistence": "Enabled",
}
"""What upstream always writes."""


async def _set_once(store: Store, fields: Mapping[str, Any]) -> None:
    try:
        stored = await store.get(_KEY)
    except Missing:
        await store.create(Resource(_KEY.kind, _KEY.name, spec=_checked({**_DEFAULTS, **fields})))
        return
    spec = _checked({**_DEFAULTS, **stored.spec, **fields})
    if spec != stored.spec:
        await store.update(replace(stored, spec=spec))


def _checked(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    if spec["strictAffinity"]:
        return spec
    if not spec["autoAllocateBlocks"]:
        raise Rejected("", "Cannot disable 'StrictAffinity' and 'AutoAllocateBlocks' at the same time")
    if spec.get("maxBlocksPerHost", 0) > 0:
        raise Rejected("", "MaxBlocksPerHost requires StrictAffinity to be enabled")
    return spec
