"""From parameters to the words of a command line. Pure; a word is a word, whatever is in it, and no shell reads it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from blockyard.errors import ConfigError

Kind: TypeAlias = Literal["auto", "switch", "value", "joined", "repeated", "spread", "positional", "raw", "none"]


class Argument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one parameter is written. In a model: ``threads: Annotated[int, Argument(name="j", flag="-")] = 4``."""

    kind: Kind = "auto"
    """``switch``: the flag alone when true. ``value``: flag, value. ``joined``: flag=value. ``repeated``: flag, value
    for each item. ``spread``: flag, then all items. ``positional``: values alone. ``raw``: items as they are, after
    everything before them. ``none``: no argument. ``auto``: switch, repeated or value, by its type."""
    name: str = ""
    """In the flag; '' for the parameter's own."""
    flag: Literal["", "-", "--"] | None = None
    """None: ``-`` for a name of one letter, ``--`` for others. '': the name is the whole flag, as in ``if=``."""
    joint: str = "="
    """Between flag and value of ``joined``."""
    off: str = ""
    """What a switch that is false writes, for example ``--no-cache``."""
    is_result: bool = False
    """Its value is the path of the task's result."""
    description: str = ""

    def __post_init__(self) -> None:
        """Raises ConfigError for a way to write it that there is not."""
        for field, choices in (("kind", get_args(Kind)), ("flag", (None, "", "-", "--"))):
            if (given := getattr(self, field)) not in choices:
                there = ", ".join(repr(one) for one in choices)
                raise ConfigError(f"argument: {field}={given!r}; give one of {there}")


_AUTO = Argument()


def arguments(values: Iterable[tuple[str, Any, Argument | None]]) -> list[str]:
    """The words for parameters given as (name, value, how); in this order, None left out.

    Raises ConfigError naming the parameter whose value can't be written as it says.
    """
    words: list[str] = []
    for name, value, argument in values:
        if value is not None:
            words += _words(name, value, argument or _AUTO)
    return words


def _words(name: str, value: Any, argument: Argument) -> list[str]:
    flag = _flag(argument.name or name, argument.flag)
    match _kind(value, argument.kind):
        case "none":
            return []
        case "switch":
            if not isinstance(value, bool):
                raise ConfigError(f"parameter {name}={value!r}: a switch is true or false")
            return [flag] if value else [argument.off] if argument.off else []
        case "value":
            return [flag, word(name, value)]
        case "joined":
            return [f"{flag}{argument.joint}{word(name, value)}"]
        case "repeated":
            return [one for item in _items(value) for one in (flag, word(name, item))]
        case "spread":
            items = [word(name, item) for item in _items(value)]
            return [flag, *items] if items else []
        case _:
            return [word(name, item) for item in _items(value)]


def _kind(value: Any, kind: Kind) -> Kind:
    if kind != "auto":
        return kind
    if isinstance(value, bool):
        return "switch"
    return "repeated" if isinstance(value, list | tuple) else "value"


def _flag(name: str, flag: str | None) -> str:
    if flag is None:
        flag = "-" if len(name) == 1 else "--"
    return flag + name


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def word(name: str, value: Any) -> str:
    """One value as one word. Raises ConfigError for what has no obvious form."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool | int | float | str) or hasattr(value, "__fspath__"):
        text = str(value)
        if "\0" in text:
            raise ConfigError(f"parameter {name}: an argument holds no NUL")
        return text
    raise ConfigError(f"parameter {name}={value!r}: {type(value).__name__} is no text, number or path")
