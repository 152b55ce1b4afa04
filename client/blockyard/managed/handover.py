"""How a function comes to a process of its own: as to a worker, by name if it can be imported, else by value."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final

from blockyard.managed.launch import BY_VALUE, Call
from blockyard.managed.shim import blockyard_shim
from blockyard.payload import FunctionCache

_packed: Final = FunctionCache()


def reference(target: Callable[..., Any] | str) -> str:
    """``module:name``; '' for what has none."""
    if isinstance(target, str):
        return target
    module, name = getattr(target, "__module__", ""), getattr(target, "__qualname__", "")
    if not module or module == "__main__" or not name or "<" in name:
        return ""
    return f"{module}:{name}"


def call_of(target: Callable[..., Any] | str, parameters: Mapping[str, Any]) -> Call:
    """What a fork server is told. Raises NotSendable for a function that holds what can't be packed."""
    name = reference(target)
    if name and (isinstance(target, str) or _is_there(name, target)):
        return Call(name, dict(parameters), frozenset({name.partition(":")[0]}))
    packed = _packed.get(target)  # type: ignore[arg-type]  # a text has a name
    needed = {_module(one) for watch in packed.watches for one in watch.bound()}
    return Call(packed.blob, dict(parameters), frozenset({BY_VALUE, *(needed & sys.modules.keys())} - {"__main__"}))


def _is_there(name: str, target: object) -> bool:
    """Whether this name stands for it: a decorator may have put something else in its place."""
    try:
        return blockyard_shim.load(name) is target
    except (ImportError, AttributeError):
        return False


def _module(value: object) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    return name if isinstance(name, str) else ""
