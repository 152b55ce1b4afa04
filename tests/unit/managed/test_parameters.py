"""Values of parameters: as a function in another process gets them, and as the record shows them."""

from pathlib import Path

import pytest

from blockyard.errors import ConfigError
from blockyard.managed.parameters import plain, sendable


class Array:
    def tolist(self) -> list[int]:
        return [1, 2]


class Model:
    def model_dump(self, mode: str) -> dict[str, str]:
        return {"mode": mode}


class Other:
    def __str__(self) -> str:
        return "another"


def test_a_function_gets_paths_arrays_and_models_as_json_has_them() -> None:
    given = {"path": Path("/a"), "arrays": [Array()], "model": Model(), "number": 1.5}
    expected = {"path": "/a", "arrays": [[1, 2]], "model": {"mode": "json"}, "number": 1.5}
    assert sendable(given) == expected


@pytest.mark.parametrize("value", [Other(), [b"bytes"], {"deep": Other()}])
def test_what_json_cannot_hold_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigError, match=r"parameter threshold: .*gets what JSON can hold"):
        sendable({"given": 1, "threshold": value})


def test_the_record_shows_in_words_what_json_cannot_hold() -> None:
    assert plain({"path": Path("/a"), "other": Other(), "model": Model()}) == {
        "path": "/a",
        "other": "another",
        "model": {"mode": "json"},
    }
