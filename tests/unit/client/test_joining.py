"""`join` makes calls of a function and items, or of a list of calls, and says what it did not understand."""

import functools
from typing import Any

import pytest

from blockyard.errors import ConfigError
from blockyard.joining import Call, Join, join, of_children
from blockyard.wire.records import TaskSpec


def test_a_function_and_items_make_one_call_each() -> None:
    assert join(abs, [1, 2]) == Join((Call(abs, (1,), {}), Call(abs, (2,), {})))


def test_no_items_make_no_calls() -> None:
    assert join(abs, iter(())) == Join(())
    assert join([]) == Join(())


def test_a_list_of_calls_may_mix_functions_and_forms() -> None:
    calls = join([(pow, 2, 3), functools.partial(int, "ff", base=16), (list,), Call(abs, (1,), {})])
    assert calls.calls == (
        Call(pow, (2, 3), {}),
        Call(int, ("ff",), {"base": 16}),
        Call(list, (), {}),
        Call(abs, (1,), {}),
    )


@pytest.mark.parametrize("entry", [5, (), (5, 6), "pow", abs])
def test_an_entry_that_is_no_call_is_refused_by_its_place(entry: Any) -> None:
    with pytest.raises(ConfigError, match=r"entry 1 of join\(\["):
        join([(abs, 1), entry])


def test_calls_have_from_their_task_what_is_not_asked_for_one_call() -> None:
    parent = TaskSpec(
        b"f", "gpu", "fit", 5, 3, 0.5, ("OSError",), 60.0, 90.0, 2.0, 1 << 30, 1, 2, 4, 2, idempotent=False, tags=("a",)
    )
    expected = TaskSpec(b"g", "gpu", "part", 5, 3, 0.5, ("OSError",), idempotent=False, tags=("a",))
    assert of_children(parent, b"g", "part") == expected


def test_a_function_without_items_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"join\(abs\) has no items"):
        join(abs)


def test_items_without_a_function_are_refused() -> None:
    with pytest.raises(ConfigError, match="is not a function"):
        join(5, [1])  # type: ignore[arg-type]
