"""Futures and files inside arguments that are not pickled: found in containers and dataclasses, and replaced.

Containers without any are handed over as they are; one that holds one, however deep, is copied.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from blockyard.futures import TaskFuture

T = TypeVar("T")

_PLAIN: Final = frozenset({int, float, str, bytes, bool, complex, type(None)})


def find_futures(value: object) -> list[TaskFuture[Any]]:
    """Return the futures inside `value`, each once, in order of appearance."""
    return list(dict.fromkeys(find(value, TaskFuture)))


def find(value: object, kind: type[T]) -> list[T]:
    """Return what there is of a kind inside `value`, in order of appearance."""
    found: list[T] = []
    visited: set[int] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if type(current) in _PLAIN:
            continue
        if isinstance(current, kind):
            found.append(current)
            continue
        parts = _parts(current)
        if parts is not None and id(current) not in visited:
            visited.add(id(current))
            waiting.extend(reversed(list(parts)))
    return found


def with_values(value: Any, kind: type[T], value_of: Callable[[T], object]) -> Any:
    """Return `value` with everything of a kind in it replaced by ``value_of(it)``."""
    if isinstance(value, kind):
        return value_of(value)
    if type(value) in _PLAIN or not find(value, kind):
        return value
    match value:
        case dict():
            filled = copy.copy(value)
            filled.clear()
            filled.update(
                (with_values(key, kind, value_of), with_values(item, kind, value_of)) for key, item in value.items()
            )
            return filled
        case tuple() if hasattr(value, "_make"):
            return type(value)._make(with_values(item, kind, value_of) for item in value)
        case list() | tuple() | set() | frozenset():
            return type(value)(with_values(item, kind, value_of) for item in value)
        case _:
            filled = copy.copy(value)
            for field in dataclasses.fields(value):
                object.__setattr__(filled, field.name, with_values(getattr(value, field.name), kind, value_of))
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
