"""References in values: ``${{ params.n }}``, ``${{ steps.a.result }}``, ``${{ steps.a.outputs.x }}``, ``${{ item }}``,
and in the words of a program ``${{ arguments.table }}``, which has its place when files are there: see `step_files`.

A text that is one reference becomes the value itself; inside a longer text it becomes its text. Nothing is evaluated
but a path of names: what is to be computed is computed in a step.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from blockyard import suggestion

PATTERN: Final = re.compile(r"\$\{\{((?:(?!\}\}).)*)\}\}", re.DOTALL)
_PART: Final = re.compile(r"[A-Za-z0-9_-]+")
ROOTS: Final = ("params", "steps", "item", "arguments")
OPENING: Final = b"${{"
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class Reference(msgspec.Struct, frozen=True):
    """One reference: ``steps.a.result`` is root 'steps', path ('a', 'result')."""

    root: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join((self.root, *self.path))

    @property
    def step(self) -> str:
        """The step it is to, '' for none."""
        return self.path[0] if self.root == "steps" else ""


class BadReference(ValueError):
    """What stands between the braces is none."""


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Reference:
    """Read what stands between ``${{`` and ``}}``. Raises BadReference."""
    root, *path = text.strip().split(".")
    if root not in ROOTS:
        meant = suggestion.hint(root, ROOTS).strip()
        raise BadReference(f"${{{{{text}}}}} begins with none of {', '.join(ROOTS)}{meant and '; '}{meant}")
    if not all(_PART.fullmatch(part) for part in path):
        raise BadReference(f"${{{{{text}}}}} is no path of names; what is to be computed is computed in a step")
    if root == "params" and not path:
        raise BadReference(f"${{{{{text}}}}} names no parameter")
    if root == "arguments" and not path:
        raise BadReference(f"${{{{{text}}}}} names no argument")
    if root == "steps" and (len(path) < 2 or path[1] not in ("result", "outputs")):
        raise BadReference(f"${{{{{text}}}}}: write steps.NAME.result or steps.NAME.outputs.NAME")
    if root == "steps" and path[1] == "outputs" and len(path) < 3:
        raise BadReference(f"${{{{{text}}}}} names no output")
    return Reference(root, tuple(path))


def may_hold(mark: bytes, value: Any) -> bool:
    """Whether these characters may stand in some text of a value. Quick, so that most values need no further look."""
    return may_hold_any((mark,), value)


def may_hold_any(marks: Iterable[bytes], value: Any) -> bool:
    """The same, for some of several."""
    try:
        return any_in(marks, _encode(value))
    except (TypeError, ValueError, OverflowError):  # what JSON cannot say is looked through
        return True


def any_in(marks: Iterable[bytes], encoded: bytes) -> bool:
    """Whether some of these stand in what was encoded."""
    for mark in marks:  # noqa: SIM110 - once a step: a generator would cost as much as the rest
        if mark in encoded:
            return True
    return False


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """All texts in a value of JSON, with their paths."""
    return ((where, one) for where, one in leaves(value, path) if isinstance(one, str))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All in a value of JSON that is neither a list nor a dict, with their paths."""
    match value:
        case dict():
            for key, one in value.items():
                yield from leaves(one, f"{path}.{key}")
        case list() | tuple():
            for place, one in enumerate(value):
                yield from leaves(one, f"{path}[{place}]")
        case _:
            yield path, value


def found_in(value: Any) -> list[Reference]:
    """The references in a value, in order. Raises BadReference."""
    return [parse(match[1]) for _, text in texts(value) for match in PATTERN.finditer(text)]


def filled(value: Any, look_up: Callable[[Reference], Any], only: frozenset[str] = frozenset(ROOTS)) -> Any:
    """A value with its references, to these roots, replaced. Raises what `look_up` raises."""
    match value:
        case str():
            return _filled_text(value, look_up, only)
        case dict():
            return {key: filled(one, look_up, only) for key, one in value.items()}
        case list() | tuple():
            return [filled(one, look_up, only) for one in value]
    return value


@functools.lru_cache(maxsize=4096)
def whole(text: str) -> Reference | None:
    """The reference that a text is and nothing else. Raises BadReference."""
    found = PATTERN.fullmatch(text)
    return parse(found[1]) if found is not None else None


def _filled_text(text: str, look_up: Callable[[Reference], Any], only: frozenset[str]) -> Any:
    if "${{" not in text:
        return text
    if (reference := whole(text)) is not None:
        return look_up(reference) if reference.root in only else text

    def replace(match: re.Match[str]) -> str:
        reference = parse(match[1])
        return as_text(look_up(reference)) if reference.root in only else match[0]

    return PATTERN.sub(replace, text)


def as_text(value: Any) -> str:
    """A value inside a longer text: as it is if it is text, else as JSON writes it, else as Python does."""
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except TypeError:
        return str(value)


def walk(value: Any, path: tuple[str, ...], what: str) -> Any:
    """Go down a path in a value: keys of mappings, places in lists. Raises LookupError that says how far it came."""
    for depth, part in enumerate(path):
        where = ".".join((what, *path[:depth]))
        if isinstance(value, dict):
            if part not in value:
                raise LookupError(
                    f"{where} has no {part!r}; it has: {', '.join(map(str, list(value)[:20])) or 'nothing'}"
                )
            value = value[part]
        elif isinstance(value, list | tuple) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise LookupError(f"{where} is a {type(value).__name__} and has no {part!r}")
    return value
