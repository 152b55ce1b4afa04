"""What values parameters may have, and how they are told: to a function in another process, and to the record. Pure.

Whether a task has such a parameter, and of which type, is for `models` to say; how one becomes a word of a command, for
`argv`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from blockyard.errors import ConfigError


def sendable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """As a function gets them, by JSON. Raises ConfigError naming one that JSON can't hold."""
    return {name: _sendable(name, value) for name, value in parameters.items()}


def plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """As the record has them; what JSON can't hold is shown in words."""
    return {name: _plain(value) for name, value in parameters.items()}


def _sendable(name: str, value: Any) -> Any:
    try:
        found = msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview), enc_hook=_as_json)
        json.dumps(found)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"parameter {name}: {error}; a function in a process of its own gets what JSON can hold: text, numbers, "
            "lists, dicts, paths, arrays"
        ) from error
    return found


def _plain(value: Any) -> Any:
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
