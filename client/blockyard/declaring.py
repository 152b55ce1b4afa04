"""`Declared`: what a step's function returns to show some of its result to conditions and to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from blockyard.errors import NotSendable
from blockyard.wire.records import MAX_OUTPUTS_BYTES

_UNSAYABLE: Final = (TypeError, ValueError, msgspec.MsgspecError)
"""What JSON cannot say raises one of these."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A result, and beside it what is declared of it: a JSON object of at most 64 KiB."""

    value: Any
    outputs: bytes


def declare(value: Any, outputs: dict[str, Any]) -> Declared:
    """Raises NotSendable, naming the output, when JSON cannot say it, or when all are too large."""
    encoded = as_json("output", outputs)
    if len(encoded) > MAX_OUTPUTS_BYTES:
        raise NotSendable(
            f"the outputs have {len(encoded)} bytes as JSON, at most {MAX_OUTPUTS_BYTES} are taken; return large "
            "things as the result, and declare what is to be seen of them"
        )
    return Declared(value, encoded)


def as_json(what: str, things: dict[str, Any]) -> bytes:
    """Things by name as a JSON object. Raises NotSendable for one that JSON cannot say: `what`, and its name."""
    try:
        return msgspec.json.encode(things, enc_hook=_plain)
    except _UNSAYABLE as error:
        name = next((name for name, thing in things.items() if not _is_sayable(thing)), "")
        raise NotSendable(f"{what} {name!r}: {error}; declare numbers, texts, lists and objects") from error


def _is_sayable(output: Any) -> bool:
    try:
        msgspec.json.encode(output, enc_hook=_plain)
    except _UNSAYABLE:
        return False
    return True


def _plain(value: Any) -> Any:
    """Scalars of numpy and the like, as what they stand for."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", 1) == 0:
        return item()
    raise TypeError(f"a {type(value).__name__} cannot be declared")
