"""Futures inside arguments that are not pickled: found in containers and dataclasses, and replaced by their values.

Containers without futures are handed over as they are; one that holds a future, however deep, is copied.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Final

from blockyard.futures import TaskFuture

_PLAIN: Final = frozenset({int, float, str, bytes, bool, complex, type(None)})


def find_futures(value: object) -> list[TaskFuture[Any]]:
    """Return the futures inside `value`, each once, in order of appearance."""
    found: dict[TaskFuture[Any], None] = {}
    visited: set[int] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if type(current) in _PLAIN:
            continue
        if isinstance(current, TaskFuture):
            found[current] = None
            continue
        parts = _parts(current)
        if parts is not None and id(current) not in visited:
            visited.add(id(current))
            waiting.extend(reversed(list(parts)))
    return list(found)


def with_values(value: Any, value_of: Callable[[TaskFuture[Any]], object]) -> Any:
    """Return `value` with every future in it replaced by ``value_of(future)``."""
    if isinstance(value, TaskFuture):
        return value_of(value)
    if type(value) in _PLAIN or not find_futures(value):
        return value
    match value:
        case dict():
            filled = copy.copy(value)
            filled.clear()
            filled.update((with_values(key, value_of), with_values(item, value_of)) for key, item in value.items())
            return filled
        case tuple() if hasattr(value, "_make"):
            return type(value)._make(with_values(item, value_of) for item in value)
        case list() | tuple() | set() | frozenset():
            return type(value)(with_values(item, value_of) for item in value)
        case _:
            filled = copy.copy(value)
            for field in dataclasses.fields(value):
                object.__setattr__(filled, field.name, with_values(getattr(value, field.name), value_of))
            return filled


def _parts(value: object) -> Iterable[object] | None:
    match value:
        case dict():
            return [*value.keys(), *value.values()]
        case list() | tuple() | set() | frozenset():
            return value
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return [getattr(value, field.name) for field in dataclasses.fields(value) if hasattr(value, field.name)]
        case _:
            return None
