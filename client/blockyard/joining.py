"""`join`: what a task returns to say "my result is theirs": its slot is free while the calls it names are run.

This module holds the value only. The worker turns it into tasks of the same run and reports them through its manager;
the thread engine does so in memory. The result of the joined task is the list of the results, in order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from blockyard.errors import ConfigError
from blockyard.wire.records import TaskSpec, Trigger


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is still to be made."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Join:
    """The calls whose results are the result of the task that returned this."""

    calls: tuple[Call, ...]
    whole: bool = False
    """Each call is to have the resources and times that the task was given; else these were asked for one call."""


def of_children(parent: TaskSpec, function: bytes = b"", name: str = "", *, whole: bool = False) -> TaskSpec:
    """What the calls that a task left to be done have from it: pool, priority, tags, how often and whether they may run
    again; its resources and the time of one try only if it left them as a `whole`."""
    if whole:
        return msgspec.structs.replace(
            parent, function=function, name=name, deadline=0.0, trigger=Trigger.ALL_SUCCESS, condition=None
        )
    return TaskSpec(
        function,
        pool=parent.pool,
        name=name,
        priority=parent.priority,
        retries=parent.retries,
        backoff=parent.backoff,
        retry_on=parent.retry_on,
        idempotent=parent.idempotent,
        tags=parent.tags,
    )


_NOT_GIVEN: Final[Any] = object()


def join(function: Callable[[Any], Any] | Iterable[Any], items: Iterable[Any] = _NOT_GIVEN) -> Join:
    """Return, from a task, that its result is ``[function(item) for item in items]``, each run as a task of its own.

    With one argument it is a list of calls, each a `functools.partial` or a tuple ``(function, *args)``; these may
    differ in their functions. Raises `ConfigError` for anything else, naming the place in the list.
    """
    if items is _NOT_GIVEN:
        if callable(function):
            msg = f"join({_name(function)}) has no items; write join(function, items) or join([(function, *args), …])"
            raise ConfigError(msg)
        return Join(tuple(_call(index, entry) for index, entry in enumerate(function)))
    if not callable(function):
        msg = f"join(function, items): {function!r} is not a function"
        raise ConfigError(msg)
    return Join(tuple(Call(function, (item,), {}) for item in items))


def _call(index: int, entry: Any) -> Call:
    if isinstance(entry, functools.partial):
        return Call(entry.func, entry.args, entry.keywords)
    if isinstance(entry, Call):
        return entry
    if isinstance(entry, tuple) and entry and callable(entry[0]):
        return Call(entry[0], entry[1:], {})
    msg = f"entry {index} of join([…]) is {entry!r}; expected functools.partial(function, …) or (function, *args)"
    raise ConfigError(msg)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
