"""Whatever is done to both, the datastore that a plan is made in answers as the model does, and so as a real one."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from calicoctl.rehearsal import Rehearsal, read
from datastore.memory import MemoryStore
from datastore.resource import Resource
from tests.property.test_sqlite_equals_memory import Step, Watch, steps, story


@settings(max_examples=200, deadline=None)
@given(st.lists(steps.filter(lambda step: not isinstance(step, Watch)), max_size=25))
def test_a_rehearsal_answers_as_the_model_of_a_datastore_does(taken: list[Step]) -> None:
    assert asyncio.run(story(Rehearsal(), taken)) == asyncio.run(story(MemoryStore(), taken))


async def test_what_nobody_writes_keeps_its_revision_and_the_store_that_was_read_its_objects() -> None:
    store = MemoryStore()
    kept = await store.create(Resource("IPPool", "kept"))
    changed = await store.create(Resource("IPPool", "changed"))
    rehearsal = await read(store)
    await rehearsal.update(changed)
    assert (await rehearsal.get(kept.key)).revision == kept.revision
    assert (await rehearsal.get(changed.key)).revision != changed.revision
    assert (await store.list("IPPool")).items == (changed, kept)
