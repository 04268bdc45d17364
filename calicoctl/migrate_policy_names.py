"""``calicoctl datastore migrate-policy-names``: policies of the default tier get the names that users know them by.

Up to 3.28 Calico stored ``np1`` as ``default.np1``, up to 3.31 so with the user's name in an annotation. Each is
written under its own name before the old one goes, so cut short anywhere it is finished by being asked again.
Source: Calico calicoctl/commands/datastore/migrate/policyname.go, libcalico-go/lib/backend/model (determinePolicyName).
"""

from __future__ import annotations

import json
from dataclasses import replace

from calicoctl.failure import Failure
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.admission import POLICIES
from datastore.policies import is_of_kubernetes
from datastore.resource import Resource
from datastore.store import Exists, Missing, Store, StoreError
from datastore.unset import DEFAULT_TIER, NAME_ANNOTATION

USAGE = Usage(
    "",
    "Stores policies of the default tier under the names that users know them by, as Calico does from 3.32 on.",
    "calicoctl datastore migrate-policy-names",
    (CONFIG,),
)

_PREFIX = "default."


def run(terminal: Terminal) -> None:
    migrated = terminal.with_store(_migrate_all)
    terminal.say(f"Policy name migration complete, migrated {migrated} policies.")


async def _migrate_all(store: Store) -> int:
    """Raises Failure at the first that cannot be written; those before it are done."""
    migrated = 0
    for kind in POLICIES:
        try:
            found = (await store.list(kind)).items
        except StoreError as error:
            raise Failure(f"list {kind}: {error}") from None
        for policy in found:
            migrated += await _migrate(store, policy)
    return migrated


async def _migrate(store: Store, policy: Resource) -> bool:
    name = users_name(policy)
    if name == policy.name or is_of_kubernetes(policy.key):
        return False
    try:
        await store.create(replace(policy, name=name).stamped(revision="", uid="", created=""))
    except Exists:
        pass  # an earlier run got as far
    except StoreError as error:
        raise Failure(f'create {policy.kind} "{name}": {error}') from None
    try:
        await store.delete(policy.key)
    except Missing:
        pass
    except StoreError as error:
        raise Failure(f'delete {policy.kind} "{policy.name}": {error}') from None
    return True


def users_name(policy: Resource) -> str:
    """What it is called by whoever made it; in other tiers than the default that is the stored name."""
    if (policy.spec.get("tier") or DEFAULT_TIER) != DEFAULT_TIER:
        return policy.name
    if told := policy.annotations.get(NAME_ANNOTATION):
        try:
            return str(json.loads(told)["name"])
        except (ValueError, KeyError, TypeError):
            raise Failure(f"{policy.key}: its annotation {NAME_ANNOTATION} does not tell its name: {told}") from None
    return policy.name.removeprefix(_PREFIX)
