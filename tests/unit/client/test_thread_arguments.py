"""Futures are found in containers and dataclasses at any depth, and only what holds one is copied."""

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

from blockyard.futures import FutureHome, TaskFuture
from blockyard.threads.arguments import find_futures, with_values

Pair = namedtuple("Pair", "left right")  # the untyped kind is what users have
HOME = FutureHome()


@dataclass(frozen=True)
class Box:
    content: Any
    label: str = ""


def a_future(number: int) -> TaskFuture[Any]:
    return TaskFuture(HOME, number)


def replaced(value: object) -> Any:
    return with_values(value, TaskFuture, lambda future: f"value {future.task}")


def test_futures_are_found_once_in_order_of_appearance() -> None:
    first, second, third = a_future(1), a_future(2), a_future(3)
    value = [first, {"a": (second, first)}, Box({third})]
    assert find_futures(value) == [first, second, third]


def test_every_kind_of_container_is_filled_and_stays_what_it_is() -> None:
    future = a_future(1)
    for made, filled in [
        (future, "value 1"),
        ([future], ["value 1"]),
        ((1, future), (1, "value 1")),
        ({future}, {"value 1"}),
        (frozenset({future}), frozenset({"value 1"})),
        ({"k": [future]}, {"k": ["value 1"]}),
        ({future: 1}, {"value 1": 1}),
        (Pair(future, 2), Pair("value 1", 2)),
        (Box([future], "b"), Box(["value 1"], "b")),
        (OrderedDict(a=future), OrderedDict(a="value 1")),
    ]:
        assert replaced(made) == filled
        assert type(replaced(made)) is type(filled)


def test_a_default_factory_survives() -> None:
    made: defaultdict[str, Any] = defaultdict(list, a=a_future(1))
    assert replaced(made)["new"] == []


def test_what_holds_no_future_is_the_very_object() -> None:
    plain = [1, 2]
    value = [plain, a_future(1)]
    assert replaced(value)[0] is plain
    assert replaced(plain) is plain


def test_the_original_is_not_changed() -> None:
    future = a_future(1)
    value = Box([future])
    replaced(value)
    assert value.content == [future]


def test_a_list_that_contains_itself_is_searched_once() -> None:
    future = a_future(1)
    ring: list[Any] = [future]
    ring.append(ring)
    assert find_futures(ring) == [future]


def test_other_objects_are_not_searched() -> None:
    class Holder:
        def __init__(self) -> None:
            self.future = a_future(1)

    assert find_futures([Holder(), "text", b"bytes", Box]) == []
