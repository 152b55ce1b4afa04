"""Functions are packed once by content, and anew when a name that they depend on was bound to something else."""

import functools
import gc
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockyard.errors import NotLoadable, NotSendable
from blockyard.payload import FunctionCache, dump_function, dump_value, function_id, load_function, packed_bytes


def notebook(source: str) -> dict[str, Any]:
    """Names as a notebook or script has them: in a module that no worker can import."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(source, names)
    return names


def called(cache: FunctionCache, function: Callable[..., Any], *args: Any) -> Any:
    """What a worker's copy of the function returns."""
    return load_function(cache.get(function).blob)(*args)


@pytest.mark.parametrize("function", [pow, math.sqrt, dict, str.upper, functools.partial(pow, 2)])
def test_an_importable_function_is_sent_by_name(function: Any) -> None:
    blob = dump_function(function)
    assert repr(load_function(blob)) == repr(function)
    assert b"__code__" not in blob
    assert len(blob) < 120


@pytest.mark.parametrize("make", [lambda: lambda x: x * 3, lambda: notebook("def f(x): return x * 3")["f"]])
def test_lambdas_and_functions_of_a_script_are_sent_by_value(make: Callable[[], Any]) -> None:
    assert load_function(dump_function(make()))(2) == 6


def test_a_function_of_a_script_is_found_in_tracebacks_where_it_is_written(tmp_path: Path) -> None:
    script = tmp_path / "my script.py"
    script.write_text("\ndef outer():\n    def inner():\n        raise ValueError('no')\n    return inner()\n")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(script.read_text(), str(script), "exec"), names)
    with pytest.raises(ValueError, match="no") as caught:
        load_function(dump_function(names["outer"]))()
    shown = "".join(traceback.format_exception(caught.value))
    assert f'File "{script}", line 4, in inner\n    raise ValueError' in shown
    assert f'File "{script}", line 5, in outer\n    return inner()' in shown


def test_a_cell_that_runs_again_makes_the_same_function() -> None:
    def cell(name: str) -> bytes:
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile("def f(): return [1 for _ in ()]", name, "exec"), names)
        return dump_function(names["f"])

    assert cell("<ipython-input-3-0a1b2c>") == cell("/tmp/ipykernel_7/1.py")


def test_equal_content_has_the_same_id_and_other_content_another() -> None:
    blob = dump_function(pow)
    assert function_id(blob) == function_id(bytes(blob)) != function_id(dump_function(divmod))
    assert len(function_id(blob)) == 16


def test_a_function_is_packed_once() -> None:
    cache = FunctionCache()
    function = notebook("k = 2\ndef f(x): return k * x")["f"]
    assert cache.get(function) is cache.get(function)


@pytest.mark.parametrize("name", ["k", "helper"])
def test_a_rebound_global_is_noticed(name: str) -> None:
    names = notebook("k = 2\ndef helper(x): return k * x\ndef f(x): return k * helper(x)")
    cache = FunctionCache()
    before = cache.get(names["f"])
    names[name] = abs if name == "helper" else 10
    after = cache.get(names["f"])
    assert before.id != after.id
    assert called(cache, names["f"], 1) == (2 if name == "helper" else 100)


def test_a_rebound_global_of_a_helper_is_noticed() -> None:
    names = notebook("k = 2\ndef helper(x): return k * x\ndef f(x): return helper(x)")
    cache = FunctionCache()
    cache.get(names["f"])
    names["k"] = 5
    assert called(cache, names["f"], 1) == 5


def test_a_global_used_in_a_nested_function_is_noticed() -> None:
    names = notebook("k = 2\ndef f(x): return (lambda: [k for _ in range(x)])()")
    cache = FunctionCache()
    cache.get(names["f"])
    names["k"] = 5
    assert called(cache, names["f"], 1) == [5]


def test_a_global_that_was_defined_later_is_noticed() -> None:
    names = notebook("def f(x): return late + x")
    cache = FunctionCache()
    cache.get(names["f"])
    names["late"] = 1
    assert called(cache, names["f"], 1) == 2


def test_a_rebound_closure_variable_is_noticed() -> None:
    def counter() -> tuple[Callable[[], int], Callable[[], None]]:
        count = 0

        def read() -> int:
            return count

        def step() -> None:
            nonlocal count
            count += 1

        return read, step

    read, step = counter()
    cache = FunctionCache()
    assert called(cache, read) == 0
    step()
    assert called(cache, read) == 1


def test_changed_defaults_are_noticed() -> None:
    function = notebook("def f(x=1, *, y=2): return x + y")["f"]
    cache = FunctionCache()
    assert called(cache, function) == 3
    function.__defaults__ = (10,)
    assert called(cache, function) == 12
    function.__kwdefaults__ = {"y": 20}
    assert called(cache, function) == 30


def test_a_method_body_replaced_in_a_class_of_a_script_is_noticed() -> None:
    names = notebook("k = 1\nclass C:\n  def m(self): return k\ndef f(): return C().m()")
    cache = FunctionCache()
    before = cache.get(names["f"])
    names["k"] = 2
    assert cache.get(names["f"]).id != before.id


def test_a_partial_of_a_function_of_a_script_follows_its_globals() -> None:
    names = notebook("k = 1\ndef f(x): return k + x")
    bound = functools.partial(names["f"], 1)
    cache = FunctionCache()
    assert called(cache, bound) == 2
    names["k"] = 2
    assert called(cache, bound) == 3


def test_an_importable_function_has_nothing_to_watch() -> None:
    assert FunctionCache().get(math.sqrt).watches == ()


def test_changing_an_object_in_place_is_not_noticed_until_it_is_forgotten() -> None:
    names = notebook("ks = [1]\ndef f(): return len(ks)")
    cache = FunctionCache()
    assert called(cache, names["f"]) == 1
    names["ks"].append(2)
    assert called(cache, names["f"]) == 1
    cache.forget(names["f"])
    assert called(cache, names["f"]) == 2


class Scaler:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, x: int) -> int:
        return self.factor * x

    def scale(self, x: int) -> int:
        return self.factor * x


@pytest.mark.parametrize("of", [lambda scaler: scaler, lambda scaler: scaler.scale])
def test_objects_and_bound_methods_are_sent_with_their_present_state(of: Callable[[Scaler], Any]) -> None:
    scaler = Scaler(2)
    cache = FunctionCache()
    assert called(cache, of(scaler), 1) == 2
    scaler.factor = 3
    assert called(cache, of(scaler), 1) == 3


def test_a_method_of_a_builtin_object_is_sent_with_its_present_state() -> None:
    items = [1]
    count = items.count
    cache = FunctionCache()
    assert called(cache, count, 1) == 1
    items.append(1)
    assert called(cache, count, 1) == 2


def test_the_cache_does_not_keep_functions_alive() -> None:
    cache = FunctionCache()
    functions = [
        notebook("def f(n): return f(n - 1) if n else 0")["f"],
        notebook("def make():\n  def f(n): return f(n - 1) if n else 0\n  return f\nf = make()")["f"],
        notebook("f = (lambda kept: lambda: kept)([1])")["f"],
    ]
    for function in functions:
        cache.get(function)
    assert len(cache) == 3
    del function, functions
    gc.collect()
    assert len(cache) == 0


def test_a_recursive_function_is_packed() -> None:
    function = notebook("def f(n): return 1 if n == 0 else n * f(n - 1)")["f"]
    assert called(FunctionCache(), function, 5) == 120


def test_something_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(NotSendable, match="cannot be called"):
        dump_function(5)  # type: ignore[arg-type]


def test_what_a_function_refers_to_is_named_when_it_cannot_be_packed() -> None:
    names = notebook("import threading\nlock = threading.Lock()\ndef f():\n  with lock: return 1")
    with pytest.raises(NotSendable, match=r"function 'f' → global 'lock': cannot pickle '_thread\.lock'"):
        FunctionCache().get(names["f"])


def test_a_payload_that_is_no_function_is_refused() -> None:
    with pytest.raises(NotLoadable, match="a function was expected, found a int"):
        load_function(packed_bytes(dump_value(5)))
