"""How a try ended, as bytes: a result, or an exception with its traceback on the worker.

An exception is sent as an object when it survives a round trip through pickle on the worker, otherwise as its type
name, text and traceback, which arrive as a `RemoteError`. Beside the packed exception its type names go as plain
strings, because the interchange decides by them whether to retry and never unpickles anything.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from typing import Any, Final

from blockyard.errors import BlockyardError, NotLoadable, NotSendable, RemoteError, RemoteTraceback
from blockyard.parts import Packed, packed_bytes
from blockyard.payload.layout import Buffer
from blockyard.payload.values import PROTOCOL, dump_value, load_value

MOST_TRACEBACK_CHARACTERS: Final = 64_000
"""A longer traceback loses its middle: its ends say where it began and what went wrong."""

MOST_SUMMARY_CHARACTERS: Final = 300

MOST_OBJECT_BYTES: Final = 16 * 1024 * 1024
"""A pickled exception beyond this is only told: it travels in a message, behind which heartbeats must not wait long."""


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An exception ready to be sent.

    `body` is for `load_error`; `type_names` are ``module.Qualname`` along the MRO, most special first, but for
    `object`, and then the error's own `retry_names`; `summary` is one line for headers, tables and the message of
    a `DependencyError`.
    """

    body: bytes
    type_names: tuple[str, ...]
    summary: str


def dump_result(value: object) -> Packed:
    """Pack what a task returned. Raises `NotSendable`, with a path that begins with ``result``, when that fails."""
    return dump_value(value, "result")


def type_names(kind: type) -> tuple[str, ...]:
    """Return the qualified names of a class and its bases, as `retry_on` compares them."""
    return tuple(f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__ if base is not object)


def dump_error(error: BaseException) -> ErrorRecord:
    """Pack an exception with its traceback as text; never raises for what the exception is made of."""
    more = error.retry_names if isinstance(error, BlockyardError) else ()
    names = (*type_names(type(error)), *more)
    shown = _shorten(_text(error))
    trace = _shorten("".join(traceback.format_exception(error)))
    packed, reason = _packed_exception(error)
    body = pickle.dumps((packed, names[0], shown, trace, reason), PROTOCOL)
    line = f"{type(error).__qualname__}: {shown}" if shown else type(error).__qualname__
    return ErrorRecord(body, names, " ".join(line.split())[:MOST_SUMMARY_CHARACTERS])


def load_error(body: Buffer) -> BaseException:
    """Return the exception of a packed error, with the remote traceback as its `__cause__`.

    An exception that cannot be rebuilt here comes as a `RemoteError`. Raises `NotLoadable` only for damaged bytes.
    """
    record = load_value(body)
    if not (type(record) is tuple and len(record) == 5):
        raise NotLoadable(f"a packed exception was expected, a tuple of five; found a {type(record).__name__}")
    packed, name, shown, trace, reason = record
    error: BaseException | None = None
    if packed is not None:
        try:
            loaded = load_value(packed)
        except NotLoadable as problem:
            reason = f"it could not be rebuilt here: {problem}"
        else:
            error = loaded if isinstance(loaded, BaseException) else None
    if error is None:
        error = RemoteError(name, shown, trace, reason)
    error.__cause__ = RemoteTraceback(trace)
    return error


def _packed_exception(error: BaseException) -> tuple[bytes | None, str]:
    """Return the pickled exception, or `None` and why it can only be told."""
    try:
        packed = packed_bytes(dump_value(error, "exception"))
    except NotSendable as problem:
        return None, f"its exception object could not be sent: {problem}"
    except BaseException as problem:  # noqa: BLE001 - the user's reducers, which may raise SystemExit as well
        return None, f"its exception object could not be sent: pickling it raised {type(problem).__qualname__}"
    if len(packed) > MOST_OBJECT_BYTES:
        return None, (
            f"its exception object has {len(packed)} bytes, at most {MOST_OBJECT_BYTES} are sent: "
            "raise less, and return or write to a file what is large"
        )
    try:
        again: Any = load_value(packed)
    except NotLoadable as problem:
        return None, f"its exception object cannot be rebuilt from its pickle: {problem.__cause__ or problem}"
    except BaseException as problem:  # noqa: BLE001 - user code, too
        return None, f"its exception object cannot be rebuilt: that raised {type(problem).__qualname__}"
    if type(again).__qualname__ != type(error).__qualname__:
        return None, f"its exception object turns into a {type(again).__name__} when it is pickled"
    return packed, ""


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as problem:  # noqa: BLE001 - a __str__ of the user that fails must not hide the error itself
        return f"<its __str__ raised {type(problem).__name__}>"


def _shorten(text: str) -> str:
    if len(text) <= MOST_TRACEBACK_CHARACTERS:
        return text
    half = MOST_TRACEBACK_CHARACTERS // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
