"""An interchange as a cluster runs it: TCP, a key ring that cannot be written to, pools that a keeper defines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.postgres import postgres
from tests.integration.serving.house import House, house

__all__ = ["postgres", "serving"]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[House]:
    """One that runs, with its journal in the state folder."""
    with house(tmp_path) as made:
        made.start().wait_ready()
        yield made
