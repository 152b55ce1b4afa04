"""Parameters as words of a command line, one row a rule."""

from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from blockyard.errors import ConfigError
from blockyard.managed.argv import Argument, arguments


class Colour(Enum):
    RED = "red"


A = Argument
TABLE: list[tuple[str, Any, Argument | None, list[str]]] = [
    ("threads", 4, None, ["--threads", "4"]),
    ("t", 4, None, ["-t", "4"]),
    ("out", "a file.h5", None, ["--out", "a file.h5"]),
    ("out", "", None, ["--out", ""]),
    ("out", None, None, []),
    ("verbose", True, None, ["--verbose"]),
    ("verbose", False, None, []),
    ("v", True, None, ["-v"]),
    ("ratio", 0.5, None, ["--ratio", "0.5"]),
    ("files", ["a b", "c"], None, ["--files", "a b", "--files", "c"]),
    ("path", Path("/x y/z"), None, ["--path", "/x y/z"]),
    ("colour", Colour.RED, None, ["--colour", "red"]),
    ("long_name", 1, None, ["--long_name", "1"]),
    ("long_name", 1, A(name="long-name"), ["--long-name", "1"]),
    ("threads", 4, A(name="j", flag="-"), ["-j", "4"]),
    ("threads", 4, A(name="j"), ["-j", "4"]),
    ("threads", 4, A(flag="-"), ["-threads", "4"]),
    ("if_", "in.bin", A(kind="joined", name="if", flag=""), ["if=in.bin"]),
    ("key", "a=b c", A(kind="joined"), ["--key=a=b c"]),
    ("level", 3, A(kind="joined", name="O", joint=""), ["-O3"]),
    ("flag", True, A(kind="value"), ["--flag", "True"]),
    ("cache", False, A(kind="switch", off="--no-cache"), ["--no-cache"]),
    ("cache", True, A(kind="switch", off="--no-cache"), ["--cache"]),
    ("files", ["a", "b"], A(kind="spread"), ["--files", "a", "b"]),
    ("files", [], A(kind="spread"), []),
    ("files", [], None, []),
    ("define", ["A=1", "B=2"], A(name="D", flag="-", kind="repeated"), ["-D", "A=1", "-D", "B=2"]),
    ("input", "--not-a-flag; rm -rf $HOME `x`\n", A(kind="positional"), ["--not-a-flag; rm -rf $HOME `x`\n"]),
    ("inputs", ["a", "b c"], A(kind="positional"), ["a", "b c"]),
    ("more", ["--", "-x", "y z"], A(kind="raw"), ["--", "-x", "y z"]),
    ("inner", 3, A(kind="none"), []),
]  # fmt: skip


@pytest.mark.parametrize("name, value, how, words", TABLE)
def test_words(name: str, value: Any, how: Argument | None, words: list[str]) -> None:
    assert arguments([(name, value, how)]) == words


def test_the_order_is_that_of_the_parameters() -> None:
    given: list[tuple[str, Any, Argument | None]] = [
        ("b", 1, None), ("in", "x", A(kind="positional")), ("a", 2, None),
    ]  # fmt: skip
    assert arguments(given) == ["-b", "1", "x", "-a", "2"]


@pytest.mark.parametrize("value, how, words", [
    ({"a": 1}, None, "dict"),
    ("a\0b", None, "NUL"),
    ("yes", A(kind="switch"), "switch"),
    ([["a"]], None, "list"),
])  # fmt: skip
def test_what_has_no_form_is_refused_by_name(value: Any, how: Argument | None, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"parameter threshold.*{words}"):
        arguments([("threshold", value, how)])


@pytest.mark.parametrize(
    "given, words", [({"kind": "join"}, "kind='join'; give one of 'auto'"), ({"flag": "/"}, "'--'")]
)
def test_a_way_to_write_it_that_there_is_not_is_refused_where_it_is_declared(given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Argument(**given)
