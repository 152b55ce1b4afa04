"""A drawn number is always one that the interchange takes."""

import os

import pytest

from blockyard import session_number
from blockyard.ids import MAX_SESSION


@pytest.mark.parametrize("drawn", [0, 1, MAX_SESSION - 1, MAX_SESSION, 2**64 - 1])
def test_it_is_in_range_whatever_chance_gives(monkeypatch: pytest.MonkeyPatch, drawn: int) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: drawn.to_bytes(size, "big"))
    assert 1 <= session_number.draw() <= MAX_SESSION
