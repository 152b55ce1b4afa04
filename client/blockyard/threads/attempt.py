"""What a task on threads of this process runs, and one try of it in the thread that calls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from blockyard.ending import Ending
from blockyard.files.file import File, made
from blockyard.futures import TaskFuture
from blockyard.threads.arguments import find, with_values

CallArguments = tuple[tuple[Any, ...], Mapping[str, Any]]


@dataclass(slots=True, eq=False)
class Work:
    """What a task runs, and whose future tells how it ended."""

    future: TaskFuture[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    has_futures: bool
    memo: bytes = b""
    """What its result is cached by; nothing for most."""
    thread: int = 0
    """Identity of the one that runs it, or ran it last."""


def attempt(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, has_futures: bool
) -> tuple[Ending, Any]:
    """Run a call; `has_futures`: among its arguments. Returns VALUE and what it returned, EXCEPTION and what it raised.

    Its frame is one that no future refers to: an exception refers to the frames that it went through.
    """
    try:
        if has_futures:
            args, kwargs = with_values((args, dict(kwargs)), TaskFuture, TaskFuture.result)
        if made.any and find((args, kwargs), File):
            return Ending.VALUE, _with_files(function, args, kwargs)
        return Ending.VALUE, function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - user code raises anything, and the future tells
        return Ending.EXCEPTION, error


def _with_files(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    from blockyard.files.staging import call_staged  # for those tasks alone

    files: list[File] = []

    def copied(file: File) -> File:  # several tasks may share one, and each has paths of its own
        files.append(file.copied())
        return files[-1]

    args, kwargs = with_values((args, dict(kwargs)), File, copied)
    value = call_staged(files, functools.partial(function, *args, **kwargs))
    return with_values(value, File, File.released)
