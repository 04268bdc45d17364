"""Any document comes back from a custom resource as it went in, whichever group holds it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from datastore.kubernetes.groups import VIEWS, Group
from datastore.kubernetes.objects import converted_uid, from_object, to_object
from datastore.resource import KINDS, Resource

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(WORD, inner)
)
NAMES = WORD | WORD.map(lambda word: f"projectcalico.org/{word}")
MAPPING = st.dictionaries(NAMES, TEXT, max_size=3)
DEMANDED = ("deleted", "strictAffinity")


@st.composite
def documents(draw: st.DrawFn) -> Resource:
    kind = draw(st.sampled_from([each for name, each in KINDS.items() if name not in VIEWS]))
    spec: dict[str, Any] = draw(st.dictionaries(WORD, JSON, max_size=4))
    return Resource(
        kind.name,
        draw(WORD),
        draw(WORD) if kind.is_namespaced else "",
        spec={name: value for name, value in spec.items() if name not in DEMANDED},
        status=draw(st.none() | st.dictionaries(WORD, JSON, max_size=2)),
        labels=draw(MAPPING),
        annotations=draw(MAPPING),
        metadata=draw(
            st.fixed_dictionaries({}, optional={"finalizers": st.lists(WORD, min_size=1), "generateName": WORD})
        ),
        uid=str(draw(st.uuids())),
        created="2026-01-02T03:04:05Z",
        revision=str(draw(st.integers(1, 1 << 63))),
    )


@given(st.sampled_from(Group), documents())
def test_a_document_that_is_written_and_read_is_the_same(group: Group, resource: Resource) -> None:
    written = json.loads(json.dumps(to_object(group, resource)))
    assert from_object(group, resource.kind, written) == resource


@given(st.uuids())
def test_a_uid_that_is_converted_twice_is_the_same(uid: object) -> None:
    assert converted_uid(converted_uid(str(uid))) == str(uid)
