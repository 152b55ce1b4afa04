"""Values and calls come back equal, large buffers are not copied, and what only this process knows goes by value.

What cannot be packed is in test_payload_diagnosis; functions and exceptions have files of their own.
"""

import dataclasses
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, cast

import cloudpickle
import numpy as np
import pytest

import blockyard.payload
from blockyard.ending import Ending
from blockyard.errors import DependencyError, NotLoadable, NotSendable
from blockyard.futures import FutureHome, TaskFuture
from blockyard.payload import (
    Parts,
    dump_call,
    dump_error,
    dump_items,
    dump_result,
    dump_value,
    load_call,
    load_value,
    packed_bytes,
    packed_size,
)
from blockyard.payload.layout import ALIGNMENT, INLINE_BYTES, take_apart

LARGE = 100_000


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = None


def sent(value: object) -> Any:
    """What a worker gets, when the payload came in a frame of its own."""
    return load_value(packed_bytes(dump_value(value)))


@pytest.mark.parametrize("value", [None, True, 7, 2.5, "ü", b"x", [1, [2]], {"a": (1,)}, {1}, Point(1), ValueError])
def test_a_value_comes_back_equal(value: object) -> None:
    assert sent(value) == value


def test_a_small_value_is_a_plain_pickle_and_nothing_else() -> None:
    assert dump_value([1, 2]) == pickle.dumps([1, 2], 5)


def test_a_call_comes_back_with_its_arguments() -> None:
    packed, dependencies = dump_call((1, "a"), {})
    assert load_call(packed_bytes(packed)) == ((1, "a"), {})
    assert not dependencies


def test_keywords_come_back_even_with_scalars_only() -> None:
    packed, _ = dump_call((1,), {"key": None})
    assert load_call(packed_bytes(packed)) == ((1,), {"key": None})


def test_a_call_with_one_list_argument_is_not_mistaken_for_one_with_keywords() -> None:
    packed, _ = dump_call(([(1,), {"a": 2}],), {})
    assert load_call(packed_bytes(packed)) == (([(1,), {"a": 2}],), {})


@pytest.mark.parametrize("items", [range(3), [1, "a", None], [[1], Point(2)], []])
def test_items_are_packed_as_calls_of_one_argument(items: Any) -> None:
    packed, dependencies = dump_items(items)
    assert [load_call(packed_bytes(each))[0][0] for each in packed] == list(items)
    assert dependencies == {}


def test_a_large_array_is_not_copied_into_the_payload() -> None:
    array = np.arange(LARGE, dtype=np.float64)
    packed, _ = dump_call((array,), {})
    assert isinstance(packed, Parts)
    assert any(isinstance(piece, memoryview) and piece.obj is cast(Any, array) for piece in packed.buffers)
    assert packed_size(packed) == len(packed.join())


def test_a_loaded_array_is_a_view_into_a_writable_payload() -> None:
    payload = bytearray(packed_bytes(dump_value(np.zeros(LARGE, dtype=np.uint8))))
    array = load_value(payload)
    array[0] = 9
    assert payload.endswith(bytes(array[1:]))
    assert payload[-LARGE] == 9


def test_a_loaded_array_can_be_written_even_when_the_payload_cannot() -> None:
    array = sent(np.zeros(LARGE))
    array[0] = 1
    assert array[0] == 1


def test_an_array_that_was_read_only_still_is() -> None:
    array = np.zeros(LARGE)
    array.flags.writeable = False
    assert not sent(array).flags.writeable


def test_a_fortran_ordered_array_comes_back_equal() -> None:
    array = np.asfortranarray(np.arange(LARGE).reshape(100, -1))
    back = sent(array)
    assert (back == array).all()
    assert back.flags.f_contiguous


def test_a_strided_array_comes_back_equal() -> None:
    array = np.arange(LARGE)[::3]
    assert (sent(array) == array).all()


def test_buffers_begin_at_multiples_of_64() -> None:
    arrays = [np.arange(size, dtype=np.uint8) for size in (70_001, 5_003, 8_191)]
    payload = packed_bytes(dump_value(arrays))
    _, buffers = take_apart(bytearray(payload))
    starts = [payload.index(bytes(buffer)) for buffer in buffers]
    assert len(starts) == 3
    assert all(start % ALIGNMENT == 0 for start in starts)


def test_many_small_arrays_stay_inside_the_pickle() -> None:
    arrays = [np.arange(3) for _ in range(50)]
    packed = dump_value(arrays)
    assert isinstance(packed, bytes)
    assert packed[0] == 0x80
    assert all((a == b).all() for a, b in zip(sent(arrays), arrays, strict=True))


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_large_bytes_are_not_copied_and_come_back_as_what_they_were(kind: type) -> None:
    data = kind(b"ab" * INLINE_BYTES)
    packed, _ = dump_call((data, 1), {"more": data})
    assert isinstance(packed, Parts)
    assert any(isinstance(piece, memoryview) and piece.obj is data for piece in packed.buffers)
    (first, _), kwargs = load_call(packed.join())
    assert type(first) is kind
    assert first == data
    assert kwargs == {"more": data}
    assert sent(data) == data
    assert type(sent(data)) is kind


def test_a_payload_below_the_inline_size_is_always_bytes() -> None:
    assert isinstance(dump_value(np.zeros(INLINE_BYTES // 2, dtype=np.uint8)), bytes)


# --- what only this process knows -----------------------------------------------------------------------------------

MAIN_SCRIPT = """
import sys
from blockyard.payload import dump_call, dump_result, packed_bytes

class Model:
    weight = 3
    def predict(self, x):
        return self.weight * x

model = Model()
model.weight = 5
sys.stdout.buffer.write(packed_bytes(dump_call(({argument},), {{}})[0]))
"""


def run_script(source: str, *, stdin: bytes = b"") -> bytes:
    """Run a script as __main__ in a process of its own and return what it wrote."""
    roots = str(Path(blockyard.payload.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", source],
        input=stdin,
        capture_output=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": roots},
    ).stdout


def test_an_object_of_a_class_of_a_script_is_usable_elsewhere() -> None:
    (model,), _ = load_call(run_script(MAIN_SCRIPT.format(argument="model")))
    assert model.predict(2) == 10


def test_a_lambda_of_a_script_is_usable_elsewhere() -> None:
    (function,), _ = load_call(run_script(MAIN_SCRIPT.format(argument="lambda x: model.weight + x")))
    assert function(1) == 6


def test_what_was_gathered_before_cloudpickle_took_over_is_not_gathered_twice() -> None:
    home = FutureHome()
    future = TaskFuture[int](home, 1)
    arrays = [np.arange(LARGE), np.arange(LARGE) + 1]
    packed, dependencies = dump_call((future, *arrays, lambda x: x), {}, home)
    assert len(take_apart(packed_bytes(packed))[1]) == 2
    assert list(dependencies) == [future]
    args, _ = load_call(packed_bytes(packed), resolve=lambda index: index)
    assert args[0] == 0
    assert all((sent == array).all() for sent, array in zip(args[1:3], arrays, strict=True))


def test_data_that_contain_the_word_main_are_just_data() -> None:
    assert sent(["__main__"]) == ["__main__"]


def test_a_module_registered_by_value_goes_by_value() -> None:
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    try:
        packed, _ = dump_call((Point,), {})
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert b"__dataclass_fields__" in packed_bytes(packed)
    assert b"__dataclass_fields__" not in packed_bytes(dump_call((Point,), {})[0])


# --- futures in arguments -------------------------------------------------------------------------------------------


def ended(home: FutureHome, number: int, value: object) -> TaskFuture[Any]:
    future: TaskFuture[Any] = TaskFuture(home, number)
    future.set_result(value)
    return future


def test_futures_anywhere_in_the_arguments_become_numbered_dependencies() -> None:
    home = FutureHome()
    first, second = TaskFuture[int](home, 1), TaskFuture[int](home, 2)
    packed, dependencies = dump_call(([first, {"k": Point(second)}],), {"again": first}, home)
    assert list(dependencies) == [first, second]
    args, kwargs = load_call(packed_bytes(packed), resolve=["one", "two"].__getitem__)
    assert args == (["one", {"k": Point("two")}],)
    assert kwargs == {"again": "one"}


def test_a_future_in_a_closure_is_a_dependency_too() -> None:
    home = FutureHome()
    future = TaskFuture[int](home, 1)
    packed, dependencies = dump_call((lambda: future,), {}, home)
    assert list(dependencies) == [future]
    (function,), _ = load_call(packed_bytes(packed), resolve=lambda index: index + 40)
    assert function() == 40


def test_items_report_dependencies_by_their_index() -> None:
    home = FutureHome()
    future = TaskFuture[int](home, 1)
    _, dependencies = dump_items([1, [future], 3], home)
    assert {index: list(found) for index, found in dependencies.items()} == {1: [future]}


def test_a_finished_future_is_replaced_by_its_value() -> None:
    home = FutureHome()
    packed, dependencies = dump_call(([ended(home, 1, {"a": 1})],), {}, home)
    assert load_call(packed_bytes(packed)) == (([{"a": 1}],), {})
    assert not dependencies


def test_the_packed_result_of_a_future_is_embedded_without_unpacking_it() -> None:
    home = FutureHome()
    future = TaskFuture[Any](home, 1)
    body = b"\x80not a pickle at all."
    home.complete([(future, Ending.RESULT, body)])
    packed, _ = dump_call((future,), {}, home)
    assert body in packed_bytes(packed)
    with pytest.raises(NotLoadable):
        load_call(packed_bytes(packed))


def test_a_large_embedded_result_is_not_copied_and_comes_back() -> None:
    home = FutureHome()
    future = TaskFuture[Any](home, 1)
    array = np.arange(LARGE)
    body = packed_bytes(dump_result(array))
    home.complete([(future, Ending.RESULT, body)])
    packed, _ = dump_call((future,), {}, home)
    assert isinstance(packed, Parts)
    assert any(isinstance(piece, memoryview) and piece.obj is body for piece in packed.buffers)
    assert (load_call(packed.join())[0][0] == array).all()


def test_a_failed_future_fails_the_call_with_the_first_cause() -> None:
    home = FutureHome()
    future = TaskFuture[Any](home, 7)
    home.complete([(future, Ending.ERROR, dump_error(KeyError("lost")).body)])
    with pytest.raises(DependencyError, match=r"task 0-7, .*KeyError.*lost") as caught:
        dump_call(([future],), {}, home)
    assert (caught.value.task, caught.value.cause_type) == (7, "builtins.KeyError")


def test_a_dependency_error_passes_its_first_cause_on() -> None:
    home = FutureHome()
    future = TaskFuture[Any](home, 8)
    future.set_exception(DependencyError("task 3 failed: ValueError: no", 3, "builtins.ValueError"))
    with pytest.raises(DependencyError, match="task 3 failed") as caught:
        dump_call((future,), {}, home)
    assert (caught.value.task, caught.value.cause_type) == (3, "builtins.ValueError")


def test_a_cancelled_future_fails_the_call() -> None:
    home = FutureHome()
    future = TaskFuture[Any](home, 9)
    future.cancel()
    with pytest.raises(DependencyError, match=r"task 0-9, .*was cancelled"):
        dump_call((future,), {}, home)


def test_an_unfinished_future_of_another_client_is_refused() -> None:
    with pytest.raises(NotSendable, match="belongs to another client"):
        dump_call((TaskFuture[int](FutureHome(), 1),), {}, FutureHome())


def test_a_finished_future_of_another_client_is_just_its_value() -> None:
    packed, _ = dump_call(([ended(FutureHome(), 1, "v")],), {}, FutureHome())
    assert load_call(packed_bytes(packed))[0] == (["v"],)


def test_a_plain_pickle_of_a_future_says_what_to_do_instead() -> None:
    with pytest.raises(TypeError, match=r"\.result\(\)"):
        pickle.dumps(TaskFuture[int](FutureHome(), 1))


def test_packing_in_one_thread_does_not_collect_for_another() -> None:
    home = FutureHome()
    future = TaskFuture[int](home, 1)
    seen: list[BaseException] = []

    class Meddler:
        def __reduce__(self) -> Any:
            def elsewhere() -> None:
                try:
                    pickle.dumps(future)
                except TypeError as error:
                    seen.append(error)

            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join(30)
            return str, ()

    packed, dependencies = dump_call(([Meddler(), 1],), {}, home)
    assert len(seen) >= 1
    assert not dependencies
    assert load_call(packed_bytes(packed))[0] == (["", 1],)


def test_a_marker_without_a_resolver_is_an_error_that_says_so() -> None:
    home = FutureHome()
    packed, _ = dump_call(([TaskFuture[int](home, 1)],), {}, home)
    with pytest.raises(NotLoadable, match="load_call"):
        load_value(packed_bytes(packed))


def test_an_error_of_the_resolver_is_not_dressed_up() -> None:
    home = FutureHome()
    packed, _ = dump_call(([TaskFuture[int](home, 1)],), {}, home)

    def resolve(index: int) -> object:
        raise DependencyError("gone")

    with pytest.raises(DependencyError, match="gone"):
        load_call(packed_bytes(packed), resolve)


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\x01", b"nonsense", b"\x80\x05."])
def test_damaged_bytes_are_refused_with_a_reason(payload: bytes) -> None:
    with pytest.raises(NotLoadable, match="payload"):
        load_value(payload)


def test_a_payload_cut_short_is_refused() -> None:
    payload = packed_bytes(dump_value(np.zeros(LARGE)))
    with pytest.raises(NotLoadable, match="cut short"):
        load_value(payload[:-1])


def test_a_value_where_a_call_was_expected_is_refused() -> None:
    with pytest.raises(NotLoadable, match="a call was expected"):
        load_call(packed_bytes(dump_value(5)))


def test_a_missing_module_is_named_with_what_to_do() -> None:
    payload = pickle.dumps(Point, 5).replace(__name__.encode(), b"x" * len(__name__))
    with pytest.raises(NotLoadable, match=f"install the module for {sys.executable} on ") as caught:
        load_value(payload)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
