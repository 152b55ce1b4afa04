"""Messages to bytes and back: one JSON object a line, as docs/managed-protocol.md says. Pure.

A line, because a shell can write one and JSON leaves no newline inside; and because a reader that met a torn or
foreign line is in step again at the next. Never pickle: whoever can write to a channel must not be able to run code.
"""

import json
from typing import Any, Final

import msgspec

from blockyard.managed.signals import Signal

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A longer line is dropped whole, and counted."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message. `contents`: whatever JSON can hold, by signal; see docs/managed-protocol.md."""

    signal: Signal
    contents: Any = None
    rank: int = 0
    """Of the process of an MPI program that says it."""
    id: int = 0
    """Of a request, and of the response to it."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """One line with its newline. Raises TypeError for contents that JSON can't hold, naming their type."""
    return _encoder.encode(message) + b"\n"


def _decoded(line: bytes) -> Message:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        if b"NaN" not in line and b"Infinity" not in line:
            raise
        # No JSON, strictly; but results have such numbers, and the json of Python and of others writes them so.
        found = msgspec.convert(json.loads(line), Message)
        _encoder.encode(found)  # what else only that module reads: text that is none in UTF-8
        return found


class Lines:
    """Bytes of one writer, as they come, to messages. Lines that are none are counted and dropped."""

    __slots__ = ("_begun", "_is_too_long", "dropped", "is_text", "last_fault")

    def __init__(self) -> None:
        self._begun = bytearray()
        self._is_too_long = False
        self.dropped = 0
        self.last_fault = ""
        self.is_text = False
        """Text mode: lines that are no message are log."""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now."""
        newline = data.rfind(b"\n")
        if newline < 0:
            self._begin(data)
            return []
        lines = (bytes(self._begun) + data[:newline]).split(b"\n") if self._begun else data[:newline].split(b"\n")
        self._begun.clear()
        if self._is_too_long:
            self._is_too_long = False
            self._drop(f"a line of more than {MAX_LINE_BYTES} bytes")
            del lines[0]
        self._begin(data[newline + 1 :])
        return [message for line in lines if (message := self._read(line)) is not None]

    def finish(self) -> list[Message]:
        """Nothing more comes: a last line without its newline is one all the same."""
        line = bytes(self._begun)
        self._begun.clear()
        found = self._read(line) if line and not self._is_too_long else None
        return [found] if found is not None else []

    def _begin(self, data: bytes) -> None:
        if not self._is_too_long:
            self._begun += data
            if len(self._begun) > MAX_LINE_BYTES:
                self._begun.clear()
                self._is_too_long = True

    def _read(self, line: bytes) -> Message | None:
        if not line:
            return None
        try:
            message = _decoded(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            if self.is_text:
                return Message(Signal.TASK_LOG, {"message": line.decode(errors="replace")})
            self._drop(str(error))
            return None
        if message.signal is Signal.NO_PICKLE_MODE:
            self.is_text = True
        return message

    def _drop(self, fault: str) -> None:
        self.dropped += 1
        self.last_fault = fault
