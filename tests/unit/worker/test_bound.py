"""What an initializer binds as globals is there for functions by value, each of which has globals of its own."""

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest

from blockyard_worker.worker import bound


@pytest.fixture(autouse=True)
def nothing_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "_bound", {})


def by_value(source: str, module: str = "__main__", **names: object) -> dict[str, Any]:
    """The globals in which `source` was carried out, as one pickle by value makes them."""
    found: dict[str, Any] = {"__name__": module, "functools": functools, **names}
    exec(source, found)
    return found


INITIALIZER = """
def prepare(word):
    global model
    model = word

class Prepare:
    def __call__(self):
        prepare("b")
"""
TASK = """
def use():
    return model, other

@functools.wraps(use)
def wrapped():
    return use()

class Use:
    def __init__(self, *_):
        self.used = use()
    def use(self):
        return use()
    def __call__(self):
        return use()
"""


@pytest.mark.parametrize(
    "initializer, word",
    [
        (lambda names: functools.partial(names["prepare"], "a"), "a"),
        (lambda names: names["Prepare"](), "b"),
    ],
)
@pytest.mark.parametrize(
    "task",
    [
        lambda names: names["use"],
        lambda names: names["wrapped"],
        lambda names: functools.partial(functools.partial(names["use"])),
        lambda names: object.__new__(names["Use"]).use,
        lambda names: object.__new__(names["Use"]),
    ],
)
def test_a_task_finds_what_the_initializer_bound(
    initializer: Callable[[dict[str, Any]], Callable[[], object]],
    word: str,
    task: Callable[[dict[str, Any]], Callable[[], object]],
) -> None:
    bound.call(initializer(by_value(INITIALIZER, other="the initializer's", model=None)))
    function = task(by_value(TASK, other="the task's", model=None))
    bound.give(function)
    assert function() == (word, "the task's"), "and what it only refers to stays as it was sent"


def test_a_class_finds_it_when_it_is_made() -> None:
    bound.call(functools.partial(by_value(INITIALIZER)["prepare"], "a"))
    made = by_value(TASK, other=1)["Use"]
    bound.give(made)
    assert made().used == ("a", 1)


def test_other_modules_and_what_has_no_globals_are_left_alone() -> None:
    bound.call(functools.partial(by_value(INITIALIZER)["prepare"], "a"))
    elsewhere = by_value(TASK, module="elsewhere", model="its own", other=1)
    callees: list[object] = [elsewhere["use"], print, [].append, int, types.SimpleNamespace]
    for callee in callees:
        bound.give(callee)
    assert elsewhere["use"]() == ("its own", 1)


def test_an_initializer_without_globals_is_called_all_the_same() -> None:
    made: list[int] = []
    bound.call(functools.partial(made.append, 1))
    assert made == [1]
