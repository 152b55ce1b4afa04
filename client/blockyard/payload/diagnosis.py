"""Which part of an object could not be pickled, as a path: slow, and therefore only done after a failure.

The walk pickles the parts of the culprit one by one and goes down into the first that fails, until no part of it does.
It decides nothing else: the error it returns replaces pickle's, which names a type but not where it sits.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, Future
from typing import Any, Final

import cloudpickle

from blockyard.errors import NotSendable

Root = tuple[str, object]
"""The name of a thing to be packed, such as ``argument 1``, and the thing."""

MOST_TRIALS: Final = 10_000
"""The walk gives up after pickling this many parts; the error then names the path as far as it was found."""

MOST_STEPS: Final = 30

_HINTS: Final[Sequence[tuple[frozenset[str], str]]] = (
    (
        frozenset({"lock", "RLock", "Condition", "Event", "Semaphore", "_thread._local", "Thread", "SimpleQueue"}),
        "threads and locks belong to one process: create it inside the function, or leave it out in __getstate__",
    ),
    (
        frozenset({"TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom", "FileIO", "socket", "mmap"}),
        "open files belong to one process: pass the path or address and open it inside the function",
    ),
    (
        frozenset({"Connection", "Cursor", "Engine", "Session", "Client"}),
        "connections belong to one process: connect inside the function, or once per worker in the pool's initializer",
    ),
    (
        frozenset({"generator", "zip", "map", "filter", "dict_keys", "dict_values"}),
        "pass list(…) of it instead",
    ),
    (
        frozenset({"coroutine", "async_generator"}),
        "it is of an async function, and a task has no event loop: call it by asyncio.run(…) in a plain function",
    ),
    (frozenset({"frame", "traceback"}), "pass its text instead, by traceback.format_exception"),
)


def diagnose(roots: Sequence[Root], error: BaseException) -> NotSendable:
    """Return the error for things of which at least one failed to pickle with `error`."""
    if _is_too_deep(error):
        return NotSendable(
            f"{' or '.join(name for name, _ in roots)}: {_sentence(error)}; flatten it, or pass a path to it"
        )
    for name, value in roots:
        found = _failure(value)
        if found is not None:
            path, culprit, reason = _descend(value, found)
            shown = " → ".join([name, *path])
            return NotSendable(f"{shown}: {_sentence(reason)}{_hint(culprit)}", shown)
    return NotSendable(f"{' or '.join(name for name, _ in roots)}: {_sentence(error)}")


def _sentence(error: BaseException) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    if _is_too_deep(error):
        return f"it is nested too deeply or refers to itself while it is pickled ({text})"
    return text if isinstance(error, TypeError) else f"{type(error).__name__}: {text}"


def _is_too_deep(error: BaseException) -> bool:
    return isinstance(error, RecursionError) or isinstance(error.__cause__ or error.__context__, RecursionError)


def _hint(culprit: object) -> str:
    if isinstance(culprit, Future) and not hasattr(culprit, "embedded"):
        return "; a future of another executor means nothing elsewhere: pass its .result() instead"
    if isinstance(culprit, Future):  # one of ours, whose own message says what to do
        return ""
    if isinstance(culprit, Executor):
        return (
            f"; a {type(culprit).__name__} belongs to one process: to have more run, let the task return "
            "blockyard.join(fn, items), or open a client inside the function"
        )
    names = {kind.__name__ for kind in type(culprit).__mro__}
    for known, hint in _HINTS:
        if known & names:
            return f"; {hint}"
    return "; pass the data that it was made from instead, or give its class a __reduce__"


def _failure(value: object) -> Exception | None:
    try:
        cloudpickle.dumps(value, 5, buffer_callback=lambda buffer: False)
    except Exception as error:  # noqa: BLE001 - any reducer of the user may have been run
        return error
    return None


def _descend(value: object, reason: Exception) -> tuple[list[str], object, Exception]:
    path: list[str] = []
    visited = {id(value)}
    trials = MOST_TRIALS
    while True:
        for step, part in _parts(value):
            if id(part) in visited or type(part) in _ATOMS:
                continue
            trials -= 1
            if trials < 0 or len(path) == MOST_STEPS:
                return [*path, "…"], value, reason
            failure = _failure(part)
            if failure is not None:
                path.append(step)
                visited.add(id(part))
                value, reason = part, failure
                break
        else:
            return path, value, reason


_ATOMS: Final = frozenset({int, float, str, bytes, bool, complex, type(None), type, types.ModuleType})


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield the parts that pickling `value` would visit, each with the step that leads to it."""
    match value:
        case Future() | Executor():  # their locks are not what the user should hear about
            return
        case Mapping():
            for key, item in value.items():
                yield f"key {key!r}", key
                yield f"[{key!r}]", item
        case AbstractSet():
            for item in value:
                yield f"{{{item!r}}}", item
        case list() | tuple():
            names = getattr(value, "_fields", None)
            for index, item in enumerate(value):
                yield (f".{names[index]}" if names else f"[{index}]"), item
        case functools.partial() | BaseException() | types.MethodType() | types.FunctionType():
            yield from _named_parts(value)
        case _:
            pass
    if not isinstance(value, types.FunctionType | type):
        yield from _attributes(value)


def _named_parts(value: Any) -> Iterator[tuple[str, object]]:
    match value:
        case functools.partial():
            yield ".func", value.func
            yield from ((f".args[{index}]", item) for index, item in enumerate(value.args))
            yield from ((f".keywords[{key!r}]", item) for key, item in value.keywords.items())
        case BaseException():
            yield from ((f".args[{index}]", item) for index, item in enumerate(value.args))
        case types.MethodType():
            yield ".__self__", value.__self__
        case _:
            yield from _parts_of_function(value)


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"closure variable {name!r}", cell.cell_contents
        except ValueError:  # the cell is still empty: a function that refers to one defined later
            continue
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f"global {name!r}", function.__globals__[name]
    for index, item in enumerate(function.__defaults__ or ()):
        yield f"default {index + 1}", item
    for name, item in (function.__kwdefaults__ or {}).items():
        yield f"default of {name!r}", item


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    for name, item in getattr(value, "__dict__", {}).items():
        yield f".{name}", item
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(value, name) and name not in ("__dict__", "__weakref__"):
                yield f".{name}", getattr(value, name)
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:  # noqa: BLE001 - it is the culprit itself; its error is the one already at hand
        return
    if isinstance(reduced, tuple):
        labels = ("function", "argument", "state", "item", "entry")
        for label, item in zip(labels, reduced[:3], strict=False):
            yield f"<{label} of its __reduce__>", item


def name_of(value: Any) -> str:
    """Return how to call a function or class in a sentence."""
    return str(getattr(value, "__qualname__", None) or type(value).__name__)
