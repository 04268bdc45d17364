"""A whole cluster in one process: whatever happens to it, in whatever order, the invariants hold and it comes to rest.

A failure prints its seed, what happened last, and the command that shows it again.
``SIM_SEEDS=1000:2000`` plays others than the usual hundreds (``./test --long``).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from tests.sim.history import History
from tests.virtual_time import run

FEW = range(12)
MANY = range(*map(int, os.environ.get("SIM_SEEDS", "100:500").split(":")))
STEPS, MORE_STEPS = 120, 250
ONE, STEPS_OF_ONE = int(os.environ.get("SIM_SEED", "0")), int(os.environ.get("SIM_STEPS", STEPS))


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Thousands of lines a seed; the trail has what matters."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def play(seed: int, steps: int) -> str:
    """The digest of everything that happened. Raises Violation."""

    async def played() -> str:
        history = History(seed)
        await history.play(steps)
        return history.cluster.trail.digest

    return run(played())


@pytest.mark.parametrize("seed", FEW)
def test_whatever_happens_to_a_cluster_the_invariants_hold(seed: int) -> None:
    play(seed, STEPS)


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
def test_whatever_happens_to_hundreds_of_clusters_the_invariants_hold(seed: int) -> None:
    play(seed, MORE_STEPS)


def test_one_seed_is_one_story() -> None:
    assert play(ONE, STEPS_OF_ONE) == play(ONE, STEPS_OF_ONE)
