"""What a request asks for, checked: filters, places in lists, windows of time. Pure."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from blockyard.errors import BlockyardError
from blockyard.wire.monitoring import MAX_NAME
from blockyard_monitoring.history.shapes import STATES, number_of
from blockyard_monitoring.history.tasks import Wanted

T = TypeVar("T")
Integer = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_LATEST: Final = 1 << 53
"""The last instant that there is, microseconds."""


class BadQuestion(BlockyardError):
    """A request that cannot be answered; the message names the parameter."""


class NothingThere(BlockyardError):
    """What is asked about is not in the history."""


def text(query: Mapping[str, str], name: str) -> str:
    """A name of something; '' when it is not asked about."""
    value = query.get(name, "")
    if len(value) > MAX_NAME or "\0" in value:
        raise BadQuestion(f"{name}: at most {MAX_NAME} characters, and no NUL")
    return value


def wanted(query: Mapping[str, str]) -> Wanted:
    """A filter of tasks."""
    state = text(query, "state")
    if state and state not in STATES:
        raise BadQuestion(f"state={state!r}; there are {', '.join(STATES)}")
    return Wanted(run=text(query, "run"), pool=text(query, "pool"), function=text(query, "function"), state=state)


def task(name: str) -> int:
    """A task as the database numbers it."""
    try:
        return number_of(name)
    except ValueError as error:
        raise NothingThere(str(error)) from error


def place(query: Mapping[str, str], kind: type[T]) -> T | None:
    """Behind which row a list shall go on, as `place_text` wrote it; None: from its beginning."""
    value = query.get("behind", "")
    if not value:
        return None
    try:
        raw = base64.urlsafe_b64decode(value.encode("ascii", "strict") + b"=" * (-len(value) % 4))
        return msgspec.json.decode(raw, type=kind)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise BadQuestion(f"behind={value[:80]!r}: no place in this list; begin again without it") from error


def place_text(key: tuple[Any, ...] | None) -> str:
    """A key as a parameter; '' for None."""
    return "" if key is None else base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def whole(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number within bounds."""
    value = query.get(name, "")
    if not value:
        return default
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 20 or not least <= int(value) <= most:
        raise BadQuestion(f"{name}={value[:80]!r}; give a whole number from {least} to {most}")
    return int(value)


def window(query: Mapping[str, str], extent: tuple[int, int]) -> tuple[int, int]:
    """A window of time, microseconds UTC; what is not asked about is all of `extent`."""
    from_us = whole(query, "from", extent[0], 0, _LATEST)
    to_us = whole(query, "to", extent[1], 0, _LATEST)
    if to_us <= from_us:
        raise BadQuestion(f"to={to_us}: it must come after from={from_us}")
    return from_us, to_us
