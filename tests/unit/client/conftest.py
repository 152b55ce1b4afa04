"""Thread engines of two threads and of one."""

from collections.abc import Iterator

import pytest

from blockyard.threads import ThreadEngine


@pytest.fixture
def engine() -> Iterator[ThreadEngine]:
    made = ThreadEngine(2)
    yield made
    made.shutdown(cancel_futures=True)


@pytest.fixture
def single() -> Iterator[ThreadEngine]:
    made = ThreadEngine(1)
    yield made
    made.shutdown(cancel_futures=True)
