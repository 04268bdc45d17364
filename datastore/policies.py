"""How many network policies a cluster has, by kind, for whoever has to say that they are not enforced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from datastore.resource import Key
from datastore.store import NotSupported, Store

KINDS = ("NetworkPolicy", "GlobalNetworkPolicy")
"""Staged ones enforce nothing anywhere."""
OF_KUBERNETES = "knp.default."
"""How the names of those begin that are Kubernetes' own."""


def is_of_kubernetes(key: Key) -> bool:
    return key.kind == "NetworkPolicy" and key.name.startswith(OF_KUBERNETES)


def refuse_kubernetes_own(key: Key, operation: str) -> None:
    """Raises NotSupported for what Kubernetes alone writes."""
    if is_of_kubernetes(key):
        raise NotSupported(operation, key, "kubernetes network policies must be managed through the kubernetes API")


@runtime_checkable
class CountsPolicies(Protocol):
    async def count_policies(self) -> Mapping[str, int]:
        """Without reading them. Raises StoreError."""
        ...


async def count(store: Store) -> Mapping[str, int]:
    """By kind; Kubernetes' own, where there is one, are ``Kubernetes NetworkPolicy``. Raises StoreError."""
    if isinstance(store, CountsPolicies):
        return await store.count_policies()
    return {kind: len((await store.list(kind)).items) for kind in KINDS}


def in_words(counts: Mapping[str, int]) -> str:
    """Like ``3 NetworkPolicy and 1 GlobalNetworkPolicy``; "" for none."""
    return " and ".join(f"{number} {kind}" for kind, number in counts.items() if number)
