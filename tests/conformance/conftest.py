from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.router import Router, running


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """One process for a whole file of cases: it has to live through all of them."""
    with running(tmp_path_factory.mktemp("speaker")) as found:
        yield found
        assert found.is_alive(), found.log()
        assert "session.guard" not in found.log(), "an exception reached the guard of a session"
