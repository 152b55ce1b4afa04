"""The limits of a system are whole numbers, and every one but the cache's begins at 1."""

from typing import Any

import pytest

from blockyard.errors import ConfigError
from blockyard.serving import Limits


def test_nothing_may_be_cached() -> None:
    assert Limits(cache_max_bytes=0).cache_max_bytes == 0


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"max_tasks": 0}, "max_tasks=0; give a whole number from 1"),
        ({"cache_ttl": 0}, "cache_ttl=0; give a whole number from 1"),
        ({"cache_ttl": 2.5}, "cache_ttl=2.5; give a whole number from 1"),
        ({"cache_max_bytes": -1}, "cache_max_bytes=-1; give a whole number from 0"),
    ],
)
def test_what_is_none_is_named(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"limits: {sentence}"):
        Limits(**given)
