"""What the tests of rogues share."""

from __future__ import annotations

import pytest

from bench.scenario import Scenario
from bench.submission import desk
from tests.rogues.ground import make_ground


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """A small scenario."""
    return make_ground(tmp_path_factory.mktemp("ground"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desk that opens without measuring this machine, and answers few questions."""
    monkeypatch.setattr(desk, "_expected", lambda *arguments: 1.0)
    monkeypatch.setattr(desk, "OFFERS", 1)
