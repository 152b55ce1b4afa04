"""What cannot be sent is named by the path to it, with a hint; the walk ends, whatever the object looks like."""

import functools
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from blockyard import Client
from blockyard.errors import NotSendable
from blockyard.futures import FutureHome, TaskFuture
from blockyard.payload import diagnosis, dump_call, dump_function, dump_result


@dataclass
class Model:
    name: str = "m"
    lock: Any = field(default_factory=threading.Lock)


class Slotted:
    __slots__ = ("guard",)

    def __init__(self) -> None:
        self.guard = threading.Lock()


class Refusing:
    def __reduce__(self) -> Any:
        raise ValueError("I am private.")


def with_closure() -> Any:
    lock = threading.Lock()
    return lambda: lock


def with_default() -> Any:
    lock = threading.Lock()

    def function(used: Any = lock) -> Any:
        return used

    return function


@pytest.mark.parametrize(
    "value, path",
    [
        (threading.Lock(), ""),
        ({"model": Model()}, " → ['model'] → .lock"),
        ([1, (2, Model())], " → [1] → [1] → .lock"),
        ({"s": Slotted()}, " → ['s'] → .guard"),
        (functools.partial(pow, Model()), " → .args[0] → .lock"),
        (functools.partial(pow, k=Model()), " → .keywords['k'] → .lock"),
        (with_closure(), " → closure variable 'lock'"),
        (with_default(), " → default 1"),
        (ValueError("x", Model()), " → .args[1] → .lock"),
        ({1: {2: Refusing()}}, " → [1] → [2]"),
    ],
)
def test_the_path_leads_to_the_culprit(value: object, path: str) -> None:
    with pytest.raises(NotSendable) as caught:
        dump_call((0, value), {})
    assert caught.value.path == "argument 2" + path


def test_a_keyword_is_named() -> None:
    with pytest.raises(
        NotSendable, match=r"^argument 'model' → \.lock: cannot pickle '_thread\.lock' object; threads and"
    ):
        dump_call((), {"model": Model()})


def test_a_result_is_named() -> None:
    with pytest.raises(NotSendable, match=r"^result: cannot pickle 'generator' object; pass list"):
        dump_result(i for i in range(3))


def test_a_bound_method_leads_to_its_object() -> None:
    class Service:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def call(self) -> None: ...

    with pytest.raises(NotSendable, match=r"\.__self__ → \.lock"):
        dump_function(Service().call)


def test_the_message_of_a_reducer_that_raises_is_kept() -> None:
    with pytest.raises(NotSendable, match="ValueError: I am private; pass the data that it was made from"):
        dump_call((Refusing(),), {})


def test_an_object_that_contains_itself_ends_the_walk() -> None:
    ring: list[Any] = []
    ring.append(ring)
    ring.append({"lock": threading.Lock(), "ring": ring})
    with pytest.raises(NotSendable, match=r"argument 1 → \[1\] → \['lock'\]"):
        dump_call((ring,), {})


def test_something_nested_too_deeply_is_told_apart() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NotSendable, match="nested too deeply"):
        dump_call((deep,), {})


def test_the_walk_gives_up_after_a_number_of_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "MOST_TRIALS", 5)
    with pytest.raises(NotSendable, match="argument 1 → …: cannot pickle"):
        dump_call(([*([Model] for _ in range(20)), threading.Lock()],), {})


def test_a_future_of_another_executor_is_explained_without_its_innards() -> None:
    with pytest.raises(NotSendable, match=r"argument 1 → \[0\]: .*future of another executor.*\.result\(\)"):
        dump_call(([Future()],), {})


def test_a_future_in_a_result_points_to_join() -> None:
    with pytest.raises(NotSendable, match=r"result → \[0\]: .*blockyard\.join"):
        dump_result([TaskFuture[int](FutureHome(), 1)])


def test_a_client_in_a_function_points_to_join() -> None:
    with Client.threads(1) as client:
        views = [client.options(retries=1)]
        with pytest.raises(
            NotSendable, match=r"^function .* → closure variable 'views' → \[0\]: .*a Submitter .*blockyard\.join"
        ):
            dump_function(lambda: views[0].submit(abs, 1).result())


def test_a_pool_of_the_standard_library_is_explained_without_its_innards() -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(NotSendable, match=r"^argument 1: .*a ThreadPoolExecutor .*blockyard\.join"),
    ):
        dump_call((pool,), {})


async def wait_for_ever() -> None: ...


def test_what_an_async_function_returns_is_told_apart_from_what_a_list_could_be_made_of() -> None:
    coroutine = wait_for_ever()
    with pytest.raises(NotSendable, match=r"^result: cannot pickle 'coroutine' object; .*asyncio\.run"):
        dump_result(coroutine)
    coroutine.close()


def test_it_is_a_type_error_for_those_who_know_the_standard_pool() -> None:
    with pytest.raises(TypeError):
        dump_call((threading.Lock(),), {})
