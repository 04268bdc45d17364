"""Kubernetes' own objects that Calico has no kind for and a speaker reads: single Secrets, Services, EndpointSlices.

They are read and watched, never written, and stand in no other datastore. A Secret is asked for by its name, so that a
node need be allowed to read no other.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from datastore.kubernetes.groups import Group
from datastore.kubernetes.store import KubernetesStore
from datastore.kubernetes.views import View
from datastore.resource import Resource
from datastore.store import Store

DEFAULT_NAMESPACE = "kube-system"
"""Where Calico looks for Secrets when NAMESPACE does not say another."""


class Beside:
    """What stands beside Calico's objects on the server that ``store`` speaks to."""

    def __init__(self, store: KubernetesStore, namespace: str = "") -> None:
        self._store = store
        self._namespace = namespace or DEFAULT_NAMESPACE

    def secret(self, name: str) -> Store:
        """Lists and watches the one Secret of that name, kind ``Secret``; its spec is its data as text."""
        return self._one(View(
            Group.V3, "Secret", "secrets", partial(_read, "Secret", _data),
            folder=f"/api/v1/namespaces/{self._namespace}/secrets", only=name,
        ))  # fmt: skip

    def services(self) -> Store:
        """Kind ``Service``."""
        return self._one(View(
            Group.V3, "Service", "services", partial(_read, "Service", _spec_and_status), folder="/api/v1/services"
        ))  # fmt: skip

    def endpoint_slices(self) -> Store:
        """Kind ``EndpointSlice``; its spec is the whole but for the metadata."""
        return self._one(View(
            Group.V3, "EndpointSlice", "endpointslices.discovery.k8s.io", partial(_read, "EndpointSlice", _whole),
            folder="/apis/discovery.k8s.io/v1/endpointslices",
        ))  # fmt: skip

    def _one(self, view: View) -> Store:
        return _OneKind(self._store, view)


class _OneKind(KubernetesStore):
    """Over the same connection."""

    def __init__(self, store: KubernetesStore, view: View) -> None:
        super().__init__(store.client)
        self._only_view = view

    async def _view(self, kind: str) -> View:
        return self._only_view


def _read(kind: str, spec_of: Callable[[Mapping[str, Any]], Mapping[str, Any]], found: Mapping[str, Any]) -> Resource:
    metadata = found["metadata"]
    return Resource(
        kind=kind,
        name=metadata["name"],
        namespace=metadata.get("namespace") or "",
        spec=spec_of(found),
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        uid=metadata.get("uid") or "",
        created=metadata.get("creationTimestamp") or "",
        revision=metadata.get("resourceVersion") or "",
    )


def _data(found: Mapping[str, Any]) -> Mapping[str, str]:
    """What is no text is none of ours."""
    data: dict[str, str] = {}
    for key, value in (found.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    return data


def _spec_and_status(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(found.get("spec") or {}), "status": found.get("status") or {}}


def _whole(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in found.items() if name not in ("metadata", "kind", "apiVersion")}
