"""What a managed task leaves to be looked at, for the history: its result as values, and its files, within bounds.

Figures are files by then: the shim in the task's process saves what shows itself as one. Content goes by its hash, in
pieces, so the same figure of many tasks is kept once. What is larger than the bounds is told without its content.
"""

from __future__ import annotations

import hashlib
import mimetypes
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from blockyard import this_try
from blockyard.managed.records import OutputFile, TaskResult
from blockyard.this_try import Way
from blockyard.wire.monitoring import MAX_NAME, MAX_PART_BYTES, MAX_TEXT, Artefact, ArtefactPart, clipped, micros

MOST_FIGURE_BYTES: Final = 5 * 1024 * 1024
"""Of a figure, a page or a value that is kept."""
MOST_FILE_BYTES: Final = 1024 * 1024
"""Of any other file that is kept."""
MOST_TASK_BYTES: Final = 6 * 1024 * 1024
"""Of all that is kept of one task; a radio that keeps in memory what is unconfirmed keeps 8 MiB."""
_FIGURES: Final = ("figure", "html", "value", "text")


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. `data`: None when it is larger than what is kept."""

    name: str
    kind: str
    media: str
    path: str
    size_bytes: int
    sha256: str
    data: bytes | None


def tell(config: str, result: TaskResult, files: list[OutputFile]) -> None:
    """Tell the history, if this is a task with monitoring. `config`: the id of the task's record.

    Raises OSError for a file that can't be read, or when the worker's manager is gone.
    """
    around = this_try.here()
    if around is None:
        return
    lease, at = around.lease(), micros(time.time())
    for one in found(result, files):
        data = one.data or b""
        pieces = range(0, max(1, len(data)), MAX_PART_BYTES) if one.data is not None else ()
        for part, begin in enumerate(pieces):
            piece = ArtefactPart(one.sha256, part, at, data[begin : begin + MAX_PART_BYTES])
            around.tell(piece, way=Way.BULK)
        around.tell(Artefact(
            config, lease.task, lease.epoch, clipped(one.name, MAX_NAME), clipped(one.kind, MAX_NAME), one.media,
            clipped(one.path, MAX_TEXT), one.size_bytes, one.sha256, len(pieces), at,
        ))  # fmt: skip


def found(result: TaskResult, files: list[OutputFile]) -> Iterator[Left]:
    """Values first, then files. Raises OSError."""
    left = MOST_TASK_BYTES
    for one in (*_values(result), *(_of_file(file) for file in files)):
        most = min(left, MOST_FIGURE_BYTES if one.kind in _FIGURES else MOST_FILE_BYTES)
        data = _read(one.path, most) if one.data is None else one.data
        if len(data) > most:
            yield msgspec.structs.replace(one, data=None)
            continue
        left -= len(data)
        # A file may have changed since it was looked at: what is kept goes by what is kept.
        yield one if one.data is not None else _with_data(one, data)


def _with_data(one: Left, data: bytes) -> Left:
    return msgspec.structs.replace(one, data=data, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _read(path: str, most: int) -> bytes:
    """The file, or more than `most` bytes of it: it may have grown since it was looked at."""
    with open(path, "rb") as file:
        return file.read(most + 1)


def _values(result: TaskResult) -> Iterator[Left]:
    for name, value in (("summary", result.summary), ("payload", result.payload)):
        if value not in (None, "", {}, []):
            yield _value(name, value)


def _value(name: str, value: Any) -> Left:
    is_text = isinstance(value, str)
    data = value.encode() if is_text else msgspec.json.format(msgspec.json.encode(value, enc_hook=str))
    kind, media = ("text", "text/plain") if is_text else ("value", "application/json")
    digest = hashlib.sha256(data).hexdigest()
    return Left(name=name, kind=kind, media=media, path="", size_bytes=len(data), sha256=digest, data=data)


def _of_file(file: OutputFile) -> Left:
    media = mimetypes.guess_type(file.path)[0] or "application/octet-stream"
    return Left(name=file.name, kind=file.kind, media=media, path=file.path, size_bytes=file.size_bytes,
                sha256=file.sha256, data=None)  # fmt: skip
