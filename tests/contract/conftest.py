from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.drivers import DRIVERS, Datastore


@pytest.fixture(params=DRIVERS)
def datastore(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Datastore]:
    with DRIVERS[request.param](tmp_path) as made:
        yield made
