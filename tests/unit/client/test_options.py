"""Options of tasks are checked when they are given, and what is wrong is named."""

from datetime import timedelta

import pytest

from blockyard.errors import ConfigError
from blockyard.options import Options


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"retrys": 2}, "unknown 'retrys'; did you mean 'retries'?"),
        ({"memroy": "1Gi"}, "unknown 'memroy'; did you mean 'memory'?"),
        ({"retries": "2"}, "retries='2' is not a whole number"),
        ({"retries": 1.5}, "retries=1.5 is not a whole number"),
        ({"timeout": None}, "timeout=None is not a number; leave it out for its default"),
        ({"timeout": timedelta(seconds=3)}, r"timeout=datetime.timedelta\(seconds=3\) is not a number"),
        ({"key": 5}, "key=5 is not a text"),
        ({"idempotent": "no"}, "idempotent='no' is not True or False"),
        ({"memory": "1 Gb of it"}, "memory='1 Gb of it' is no size"),
        ({"timeout": -1}, "timeout=-1.0 is negative"),
        ({"ranks": -1}, "ranks=-1 is negative"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"priority": 2**70}, r"priority=1180591620717411303424 is not a number from -2\^31 to 2\^31-1"),
        ({"retries": 2**70}, "retries=1180591620717411303424 is more than"),
        ({"memory": 2**70}, "memory_bytes=1180591620717411303424 is more than"),
        ({"retry_on": [3]}, r"retry_on: 3 is neither a class of exceptions nor a name"),
        ({"retry_on": 3}, r"retry_on: 3 is neither a class of exceptions nor a name"),
        ({"ignore_for_cache": 3}, "ignore_for_cache: 3 is no name"),
        ({"tags": 3}, "tags: 3 is no name"),
        ({"tags": [1]}, "tags: 1 is no name"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Options().but(**changes)


def test_sizes_and_classes_are_understood() -> None:
    options = Options().but(memory="1.5Gi", retry_on=[OSError, "KeyError"], tags=["a"])
    assert options.memory_bytes == 3 * 2**29
    assert options.retry_on == ("builtins.OSError", "KeyError")
    assert options.tags == ("a",)


def test_a_single_tag_is_one_tag_and_not_its_letters() -> None:
    assert Options().but(tags="night").tags == ("night",)
