"""Files in a step's arguments, see `addresses`: here while it runs, as paths; its outputs put where they belong."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from blockyard.files import File, Output
from blockyard.workflow.addresses import named
from blockyard.workflow.references import as_text, walk

T = TypeVar("T")

_ARGUMENT: Final = re.compile(r"\$\{\{\s*arguments\.([A-Za-z0-9_.-]+?)\s*\}\}")


def with_files(call: Callable[[dict[str, Any]], T], arguments: Mapping[str, Any]) -> T:
    """Make a call with arguments, the files among them staged. Raises StagingError, ConfigError."""
    files: list[File] = []
    filled = {name: _with_files(value, files) for name, value in arguments.items()}
    if not files:
        return call(dict(arguments))
    from blockyard.files.staging import call_staged  # for those steps alone

    return call_staged(files, partial(call, filled))


def with_arguments(text: str, arguments: Mapping[str, Any]) -> str:
    """A program's word with its ``${{ arguments.NAME }}``; what else looks like a reference is text by now.

    Raises LookupError when an argument has no such part.
    """

    def replace(match: re.Match[str]) -> str:
        name, *path = match[1].split(".")
        if name not in arguments:
            return match[0]
        return as_text(as_paths(walk(arguments[name], tuple(path), f"arguments.{name}")))

    return _ARGUMENT.sub(replace, text)


def as_paths(value: Any) -> Any:
    """A value with the paths of its files: for programs, which know nothing of ours."""
    match value:
        case File():
            return os.fspath(value)
        case dict():
            return {key: as_paths(one) for key, one in value.items()}
        case list() | tuple():
            return [as_paths(one) for one in value]
    return value


def _with_files(value: Any, files: list[File]) -> Any:
    if (found := named(value)) is not None:
        files.append(Output(found.url) if found.writes else File(found.url, sha256=found.sha256))
        return files[-1]
    match value:
        case dict():
            return {key: _with_files(one, files) for key, one in value.items()}
        case list():
            return [_with_files(one, files) for one in value]
    return value
