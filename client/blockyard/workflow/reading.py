"""From plain values to records, with all that is wrong at once: each fault has a path and a reason.

msgspec stops at the first fault; this walks along its types and asks it about one leaf at a time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect as types

from blockyard import suggestion
from blockyard.workflow.references import leaves

R = TypeVar("R", bound=msgspec.Struct)
_MOST_NAMED: Final = 20


class Fault(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong."""

    path: str
    """Such as 'spec.steps[2].needs[0]'."""
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean '…'?``, or what there is when nothing is near."""
    return suggestion.nearest(name, known, _MOST_NAMED, empty="; there are none")


def read(value: object, record: type[R], path: str, faults: list[Fault]) -> R | None:
    """The record; None, and more faults, when it cannot be made. Unknown fields get a suggestion."""
    before = len(faults)
    _struct(value, _shape(record), path, faults)
    if len(faults) > before:
        return None
    try:
        return msgspec.convert(value, record)
    except msgspec.ValidationError as error:  # what the walk does not know of
        faults.append(Fault(path, str(error)))
        return None


@functools.cache
def _shape(record: type[msgspec.Struct]) -> types.StructType:
    """Of 10^5 steps each is read by itself when something is wrong with one, and to ask takes a millisecond."""
    info = types.type_info(record)
    assert isinstance(info, types.StructType)
    return info


def _struct(value: object, info: types.StructType, path: str, faults: list[Fault]) -> None:
    if not isinstance(value, dict):
        faults.append(Fault(path, f"expected an object, found {_name(value)}"))
        return
    fields = {field.encode_name: field for field in info.fields}
    unknown = [key for key in value if key not in fields] if info.forbid_unknown_fields else []
    faults += [Fault(f"{path}.{key}", f"unknown field{nearest(str(key), fields)}") for key in unknown]
    for name, field in fields.items():
        if name in value:
            _any(value[name], field.type, f"{path}.{name}", faults)
        elif field.required:
            faults.append(Fault(f"{path}.{name}", "is required"))


def _any(value: object, kind: types.Type, path: str, faults: list[Fault]) -> None:
    match kind:
        case types.Metadata():
            _any(value, kind.type, path, faults)
        case types.UnionType() if (inner := _only(kind)) is not None:
            if value is not None:
                _any(value, inner, path, faults)
        case types.UnionType() if (parts := _text_or_record(kind)) is not None:
            _any(value, parts[isinstance(value, dict)], path, faults)
        case types.StructType():
            _struct(value, kind, path, faults)
        case types.ListType() if isinstance(value, list):
            for place, one in enumerate(value):
                _any(one, kind.item_type, f"{path}[{place}]", faults)
            _length(value, kind, path, faults)
        case types.DictType() if isinstance(value, dict):
            for key, one in value.items():
                if isinstance(key, str):
                    _any(one, kind.value_type, f"{path}.{key}", faults)
                else:
                    faults.append(Fault(f"{path}.{key}", "is no text, as keys are; put it in quotes"))
        case types.AnyType():
            faults += [
                Fault(where, f"{one} is nothing that JSON can say") for where, one in _beyond_numbers(value, path)
            ]
        case _:
            _leaf(value, kind, path, faults)


def _beyond_numbers(value: object, path: str) -> Iterator[tuple[str, float]]:
    """The floats in a value that are none: YAML and Python have them, and who writes JSON makes null of them."""
    return ((where, one) for where, one in leaves(value, path) if isinstance(one, float) and not math.isfinite(one))


def _only(kind: types.UnionType) -> types.Type | None:
    """What an optional type is when it is there; None when it may be several things."""
    inner = [one for one in kind.types if not isinstance(one, types.NoneType)]
    return inner[0] if len(inner) == 1 else None


def _text_or_record(kind: types.UnionType) -> tuple[types.StrType, types.StructType] | None:
    match kind.types:
        case (types.StrType() as text, types.StructType() as record):
            return text, record
    return None


def _length(value: list[Any], kind: types.ListType, path: str, faults: list[Fault]) -> None:
    if kind.min_length is not None and len(value) < kind.min_length:
        faults.append(Fault(path, f"has {len(value)} entries, at least {kind.min_length} are needed"))
    if kind.max_length is not None and len(value) > kind.max_length:
        faults.append(Fault(path, f"has {len(value)} entries, at most {kind.max_length} are taken"))


def _leaf(value: object, kind: types.Type, path: str, faults: list[Fault]) -> None:
    if isinstance(kind, types.EnumType):
        members = [str(member.value) for member in kind.cls]
        if value not in members:
            faults.append(Fault(path, f"{value!r} is none of them{nearest(str(value), members)}"))
        return
    try:
        msgspec.convert(value, _annotation(kind))
    except msgspec.ValidationError as error:
        faults.append(Fault(path, f"{_short(value)}: {error}"))


def _annotation(kind: types.Type) -> Any:
    match kind:
        case types.StrType():
            bounds = msgspec.Meta(min_length=kind.min_length, max_length=kind.max_length, pattern=kind.pattern)
            return _with(str, bounds)
        case types.IntType():
            return _with(int, msgspec.Meta(ge=kind.ge, le=kind.le))
        case types.FloatType():
            return _with(float, msgspec.Meta(ge=kind.ge, le=kind.le))
        case types.BoolType():
            return bool
        case types.ListType():
            return list[Any]
        case types.DictType():
            return dict[str, Any]
        case types.UnionType():
            return str | int
    raise TypeError(f"{kind!r}: a workflow must not hold this")


def _with(plain: type, bounds: msgspec.Meta) -> Any:
    from typing import Annotated

    return Annotated[plain, bounds]


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _name(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
