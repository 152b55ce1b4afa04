"""Options of tasks are checked when they are given, and what is wrong is named."""

import pytest

from blockyard.errors import ConfigError
from blockyard.options import Options


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"retrys": 2}, "unknown 'retrys'; did you mean 'retries'?"),
        ({"memroy": "1Gi"}, "unknown 'memroy'; did you mean 'memory'?"),
        ({"retries": "2"}, r"Expected `int`, got `str` - at `\$.retries`"),
        ({"memory": "1 Gb of it"}, "memory='1 Gb of it' is no size"),
        ({"timeout": -1}, "timeout=-1.0 is negative"),
        ({"ranks": -1}, "ranks=-1 is negative"),
        ({"timeout": float("nan")}, "timeout=nan"),
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
