"""The log files of blocks: made private, read from the end."""

from __future__ import annotations

import os
from pathlib import Path


def create_log(path: Path) -> int:
    """Open a new or emptied log for appending and return its descriptor; file 0600, missing folders 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def read_tail(path: Path, limit_bytes: int, *, since: int = 0) -> str:
    """Return the last `limit_bytes` of a log as text, nothing from before `since`; '' when there is no such file.

    Bytes that are no UTF-8 are replaced; a character cut in half at the front is dropped.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = file.seek(max(since, size - limit_bytes))
            data = file.read(limit_bytes)
    except FileNotFoundError:
        return ""
    if start > 0:
        while data and data[0] & 0xC0 == 0x80:
            data = data[1:]
    return data.decode("utf-8", "replace")
