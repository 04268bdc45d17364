from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.drivers import DRIVERS, SERVERS, Datastore

_PARAMS = [pytest.param(name, marks=pytest.mark.server if name in SERVERS else ()) for name in DRIVERS]


@pytest.fixture(params=_PARAMS)
def datastore(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Datastore]:
    with DRIVERS[request.param](tmp_path) as made:
        yield made
