"""Files in a step's arguments: ``{file: URL}``, maybe with ``sha256``, to be read, ``{output: URL}`` to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from blockyard.files import File, Output

_READ: Final = ({"file"}, {"file", "sha256"})
_WRITTEN: Final = {"output"}


def call_with_files(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a function with its arguments, the files among them staged. Raises StagingError, ConfigError."""
    files: list[File] = []
    filled = {name: _with_files(value, files) for name, value in arguments.items()}
    if not files:
        return function(**arguments)
    from blockyard.files.staging import call_staged  # for those steps alone

    return call_staged(files, partial(function, **filled))


def _with_files(value: Any, files: list[File]) -> Any:
    match value:
        case {"file": str() as url} if value.keys() in _READ and "://" in url:
            files.append(File(url, sha256=value.get("sha256", "")))
            return files[-1]
        case {"output": str() as url} if value.keys() == _WRITTEN and "://" in url:
            files.append(Output(url))
            return files[-1]
        case dict():
            return {key: _with_files(one, files) for key, one in value.items()}
        case list():
            return [_with_files(one, files) for one in value]
    return value
