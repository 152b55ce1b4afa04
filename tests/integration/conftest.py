"""A state folder whose processes must all be gone when the test is over."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.processes import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An empty state folder; afterwards nothing of a system in it may still run."""
    house = House(tmp_path / "state")
    yield house
    house.wait_until_empty()


@pytest.fixture
def run_house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """The folder of the run 'sweep'; a short one, because its sockets' paths may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="by-") as home:
        monkeypatch.setenv("XDG_STATE_HOME", home)
        house = House(Path(home) / "blockyard" / "runs" / "sweep")
        yield house
        house.wait_until_empty()
