"""Globals that a pool's initializer has bound, for functions that came by value.

Each of those has globals of its own, with what its code refers to. So ``global model; model = load()`` in an
initializer, as programs write it for the standard library's pools, would be seen by no task. Here what an initializer
binds anew is put into the globals of each function of the same module: a worker has them as a process of such a pool.
"""

import functools
import types
from collections.abc import Callable
from typing import Any, Final

_ABSENT: Final = object()
_bound: Final[dict[str, dict[str, Any]]] = {}
"""By module; of this process, which runs one initializer at most."""


def call(initializer: Callable[[], object]) -> None:
    """Call it and note what it binds. Raises what it raises."""
    function = _function_of(initializer)
    names = {} if function is None else function.__globals__
    before = dict(names)
    initializer()
    anew = {name: value for name, value in names.items() if before.get(name, _ABSENT) is not value}
    if function is not None and anew:
        _bound[function.__module__] = anew


def give(callee: object) -> None:
    """Let a function that was loaded see it."""
    function = _function_of(callee) if _bound else None
    if function is not None:
        function.__globals__.update(_bound.get(function.__module__, {}))


def _function_of(callee: object) -> types.FunctionType | None:
    """The Python function behind a callable, by whose globals it works; None when there is none."""
    for _ in range(100):  # who knows what refers to itself
        match callee:
            case functools.partial():
                callee = callee.func
            case types.MethodType():
                callee = callee.__func__
            case type():
                callee = next((one for one in vars(callee).values() if isinstance(one, types.FunctionType)), None)
            case types.FunctionType() if not hasattr(callee, "__wrapped__"):
                return callee
            case _ if hasattr(callee, "__wrapped__"):
                callee = callee.__wrapped__
            case None | types.BuiltinFunctionType():
                return None
            case _:
                callee = getattr(type(callee), "__call__", None)  # noqa: B004 - it is wanted, not asked for
    return None
