"""Amounts and time spans as Kubernetes writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

SPAN: Final = r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+"
"""A time span, as a field of a custom resource has it."""

QUANTITY: Final = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[mkMGTPE])?"
"""An amount, as such a field has it: without exponent, unlike what pods may have."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SUFFIXES: Final = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip
_TAKEN: Final = re.compile(r"[+-]?[0-9.]+[eEinumkKMGTP]*[-+]?[0-9]*")
"""What the API server decodes as a quantity."""
_AMOUNTS: Final = frozenset({"requests", "limits", "overhead"})
"""Fields of a pod whose values are all quantities."""
_AMOUNT: Final = frozenset({"sizeLimit", "divisor"})
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?([A-Za-z]{0,2})")


def seconds(text: str) -> float:
    """Read a time span such as '90s' or '1h30m'. Raises ValueError when it is none."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no time span; write for example '90s' or '1h30m'")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def amount(quantity: str | float) -> float:
    """Read a quantity: '500m' is 0.5, '2Gi' is 2^31. Raises ValueError when it is none."""
    if isinstance(quantity, int | float) and not isinstance(quantity, bool):
        return float(quantity)
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None or match[3] not in _SUFFIXES:
        raise ValueError(f"{quantity!r} is no quantity; write for example '500m', '2Gi' or 4")
    return float(match[1]) * 10.0 ** int(match[2] or 0) * _SUFFIXES[match[3]]


def misread(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Where below `path` of a pod there is something else than a quantity, and what is wrong with it.

    The API server refuses the whole of such an object without a word about the field.
    """
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from misread(one, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            here = f"{path}.{key}"
            if key in _AMOUNTS and isinstance(one, Mapping):
                yield from (_odd(f"{here}.{name}", found) for name, found in one.items() if not _is_taken(found))
            elif key in _AMOUNT and not _is_taken(one):
                yield _odd(here, one)
            else:
                yield from misread(one, here)


def _is_taken(value: Any) -> bool:
    if isinstance(value, str):
        return _TAKEN.fullmatch(value) is not None
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _odd(path: str, value: Any) -> tuple[str, str]:
    return path, f"{value!r} is no quantity; write for example '500m', '2Gi' or 4"
