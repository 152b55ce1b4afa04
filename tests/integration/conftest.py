"""A state folder whose processes must all be gone when the test is over."""

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
