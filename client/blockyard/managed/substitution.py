"""``{{ … }}`` in text: names of parameters, of the environment, formats and defaults. Pure and strict.

    {{ name }}   {{ Section.key[0].more }}   {{ $VARIABLE }}   {{ run:04d }}   {{ name | default("x") }}

A text that is nothing but one such place keeps the type of what it stands for; in any other it becomes text. Lists and
dicts are gone through. ``$${{`` stands for ``{{`` itself. A name that there is not is an error with the nearest one.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from blockyard.errors import ConfigError

_PLACE = re.compile(r"""\$\$\{\{|\{\{((?:"[^"]*"|'[^']*'|[^"'{}]|\{(?!\{)|\}(?!\}))*)\}\}""")
"""Its end may stand in quotes. To be matched or searched for: the whole of a text may be two of them. Nothing in it is
possessive: before Python 3.11.5 (gh-106052) such a group does not match what it should."""
_REFERENCE = re.compile(
    r"""\s*(?P<name>\$?[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*|\.\d+|\[\d+\])*)\s*
        (?::(?P<format>[^|]*?))?
        (?:\|\s*default\(\s*(?P<default>.*?)\s*\))?\s*""",
    re.VERBOSE | re.DOTALL,
)
_PARTS = re.compile(r"[A-Za-z_][\w-]*|\d+")
MOST_NESTED: Final = 50

Path = tuple["str | int", ...]
Look = Callable[[Path], Any]
"""Gives the value of a path of names and numbers, or raises `UnknownName`."""


class UnknownName(ConfigError):
    """A name that stands for nothing."""


def substitute(value: Any, names: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> Any:
    """The value with all places filled in. Raises ConfigError; see the module for the grammar."""
    return render(value, lambda path: walk(names, path), variables or {})


def render(value: Any, look: Look, variables: Mapping[str, str], depth: int = 0) -> Any:
    """The same with names looked up by a function."""
    if depth > MOST_NESTED:
        raise ConfigError(f"values nested deeper than {MOST_NESTED} levels")
    match value:
        case str():
            return _render_text(value, look, variables)
        case list() | tuple():
            return [render(one, look, variables, depth + 1) for one in value]
        case dict():
            return {name: render(one, look, variables, depth + 1) for name, one in value.items()}
    return value


def has_places(text: str) -> bool:
    """Whether there is anything to fill in."""
    return "{{" in text


def walk(names: Any, path: Path) -> Any:
    """Follow a path through dicts, lists and attributes. Raises UnknownName with the nearest name."""
    here = names
    for place, part in enumerate(path):
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            items: Sequence[Any] = here
            here = items[part]
        else:
            raise UnknownName(f"{shown(path)!r}: {missing(shown(path[:place]), part, here)}")
    return here


def missing(where: str, part: str | int, found: Any) -> str:
    """What is wrong with a name, in words."""
    place = f" in {where!r}" if where else ""
    if isinstance(found, Mapping):
        near = difflib.get_close_matches(str(part), [str(name) for name in found], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {_some(found)}"
        return f"no {part!r}{place}{hint}"
    if isinstance(found, list | tuple):
        return f"no {part!r}{place}, a list of {len(found)}"
    return f"no {part!r}{place}, which is {type(found).__name__}"


def shown(path: Path) -> str:
    """A path as it is written."""
    return ".".join(str(part) for part in path)


def _some(names: Iterable[Any]) -> str:
    listed = sorted(str(name) for name in names)
    return ", ".join(listed[:20]) + (" …" if len(listed) > 20 else "") if listed else "none"


def _render_text(text: str, look: Look, variables: Mapping[str, str]) -> Any:
    if "{{" not in text:
        return text
    whole = _PLACE.match(stripped := text.strip())
    if whole is not None and whole[1] is not None and whole.end() == len(stripped):
        return _value(whole[1], text, look, variables)

    def fill(match: re.Match[str]) -> str:
        if match[1] is None:
            return "{{"
        found = _value(match[1], text, look, variables)
        if isinstance(found, dict | list):
            raise ConfigError(f"{text!r}: {match[0]} is a {type(found).__name__}, which can't be part of a text")
        return "" if found is None else str(found)

    filled = _PLACE.sub(fill, text)
    if _PLACE.sub("", text).count("{{"):
        raise ConfigError(f"{text!r}: '{{{{' without '}}}}'; write $${{{{ for the braces themselves")
    return filled


def _value(inside: str, text: str, look: Look, variables: Mapping[str, str]) -> Any:
    match = _REFERENCE.fullmatch(inside)
    if match is None:
        raise ConfigError(f"{text!r}: {{{{{inside}}}}} is no reference; write name, Section.key, $VARIABLE or name:04d")
    try:
        if match["name"].startswith("$"):
            found: Any = _variable(match["name"], variables)
        else:
            path = tuple(int(part) if part.isdigit() else part for part in _PARTS.findall(match["name"]))
            found = look(path)
    except UnknownName as error:
        if match["default"] is None:
            raise UnknownName(f"{text!r}: {error}") from error
        found = _literal(match["default"], text)
    return found if match["format"] is None else _formatted(found, match["format"].strip(), text)


def _variable(name: str, variables: Mapping[str, str]) -> str:
    plain = name[1:]
    if plain not in variables:
        near = difflib.get_close_matches(plain, variables, n=1)
        hint = f"; did you mean ${near[0]}?" if near else ""
        raise UnknownName(f"{name} is not set in the environment{hint}")
    return variables[plain]


def _literal(text: str, where: str) -> Any:
    try:
        return json.loads(text.replace("'", '"'))
    except ValueError as error:
        raise ConfigError(f"{where!r}: default({text}) is no text in quotes, number, true, false or null") from error


def _formatted(value: Any, form: str, text: str) -> str:
    try:
        return format(value, form)
    except (ValueError, TypeError):
        pass
    try:  # numbers out of the environment are text
        return format(float(value) if form[-1:] in "eEfFgG%" else int(value), form)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{text!r}: {value!r} can't be written as {form!r}: {error}") from error
