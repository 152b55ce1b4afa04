"""What the value of a parameter may be, and how it is told: to a function in another process, and to the record. Pure.

Whether a task has such a parameter, and of which type, is for `models` to say; how one becomes a word of a command, for
`argv`.
"""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec

from blockyard.errors import ConfigError


def sendable(name: str, value: Any) -> Any:
    """A parameter as a function gets it, by JSON. Raises ConfigError naming one that JSON can't hold."""
    try:
        found = msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview), enc_hook=_as_json)
        json.dumps(found)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"parameter {name}: {error}; a function in a process of its own gets what JSON can hold: text, numbers, "
            "lists, dicts, paths, arrays"
        ) from error
    return found


def plain(value: Any) -> Any:
    """A parameter as the record has it, in what JSON can hold; what it can't is shown in words."""
    try:
        return msgspec.to_builtins(value, builtin_types=(), enc_hook=_dumped)
    except (TypeError, ValueError):
        return repr(value)


def _as_json(value: Any) -> Any:
    """Paths, arrays and models. Raises TypeError for others."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for way in ("model_dump", "tolist"):
        if (convert := getattr(value, way, None)) is not None:
            return convert(mode="json") if way == "model_dump" else convert()
    raise TypeError(f"{type(value).__name__} is none of it")


def _dumped(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else str(value)
