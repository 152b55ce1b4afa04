"""A peer for each test, and the end of every process it started."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.worker.peer import Peer, kill_at_once


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """An interchange in this process; managers that it started are killed at the end."""
    one = Peer(tmp_path)
    yield one
    for process in one.processes:
        if process.poll() is None:
            kill_at_once(process)
    one.close()
