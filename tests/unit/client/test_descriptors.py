"""A shortage of descriptors is seen before there are none, and only while it lasts."""

import contextlib
import os
import resource
from collections.abc import Iterator

import pytest

from blockyard.transport import descriptors

ALLOWED = 400
RESERVED = 64


@pytest.fixture
def opened() -> Iterator[list[int]]:
    """Files that are open, with those that were; no more than `ALLOWED` may be."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (ALLOWED, before[1]))
    opened: list[int] = []
    yield opened
    for one in opened:
        os.close(one)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _open_up_to(opened: list[int], number: int) -> None:
    while not opened or opened[-1] < number:
        opened.append(os.dup(0))


def test_there_is_none_up_to_the_reserve_and_then_there_is(opened: list[int]) -> None:
    _open_up_to(opened, ALLOWED - RESERVED - 1)
    assert descriptors.shortage() == ""
    _open_up_to(opened, ALLOWED - RESERVED)
    assert descriptors.shortage().endswith(f" of {ALLOWED} files are open")


def test_there_is_one_when_no_descriptor_is_left(opened: list[int]) -> None:
    with contextlib.suppress(OSError):
        _open_up_to(opened, ALLOWED)
    assert descriptors.shortage() == f"{ALLOWED} of {ALLOWED} files are open"


def test_a_high_descriptor_alone_is_none(opened: list[int]) -> None:
    _open_up_to(opened, ALLOWED - RESERVED + 3)
    while len(opened) > RESERVED:
        os.close(opened.pop(0))
    assert descriptors.shortage() == ""
