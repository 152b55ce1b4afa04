"""The files that a task leaves: looked at, measured and hashed when it has ended."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from blockyard.managed.records import Output, OutputFile

MOST_HASHED: Final = 4 * 1024**3
"""Bytes of a file that is still hashed."""
_CLOCK_SLACK: Final = 0.01
"""File systems stamp with the kernel's coarse clock, which lags by up to a tick."""
Stamp = tuple[int, int, int, int]
"""Changes whenever a file is written, whatever a clock says: inode, both times, size."""

NOTHING: Final[Mapping[str, Stamp | None]] = {}


def stamps(outputs: Iterable[Output], directory: str) -> dict[str, Stamp | None]:
    """What is there of these files before the task starts, by path; None for one that is not."""
    found: dict[str, Stamp | None] = {}
    for output in outputs:
        try:
            found[output.path] = _stamp(os.stat(Path(directory, output.path)))
        except OSError:
            found[output.path] = None
    return found


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def look(
    output: Output, directory: str, since: float, before: Mapping[str, Stamp | None] = NOTHING
) -> OutputFile | str:
    """The file, or what is wrong with it.

    `since`: when the task started, UTC epoch seconds. `before`: `stamps` of that time, because the clock may have been
    set back meanwhile, and a file server has its own.
    """
    path = Path(directory, output.path)
    try:
        found = path.stat()
        if not path.is_file():
            what = "a folder; name a file in it" if path.is_dir() else "no file"
            return f"output {output.name!r}: {path} is {what}"
        if output.fresh and _is_old(found, since, output.path, before):
            return f"output {output.name!r}: {path} is older than the task; it was not written by it"
        digest = _hash(path) if found.st_size <= MOST_HASHED else ""
    except OSError as error:
        return f"output {output.name!r}: {path}: {error.strerror}"
    return OutputFile(
        name=output.name,
        path=os.path.abspath(path),
        kind=output.kind,
        size_bytes=found.st_size,
        sha256=digest,
        modified=found.st_mtime,
    )


def _is_old(found: os.stat_result, since: float, path: str, before: Mapping[str, Stamp | None]) -> bool:
    """Whether it was not written by the task. One that is as it was can only have been if that was at its start."""
    if path in before:
        return before[path] == _stamp(found) and abs(found.st_mtime - since) > _CLOCK_SLACK
    return found.st_mtime < since - _CLOCK_SLACK


def look_at_all(
    outputs: Iterable[Output], directory: str, since: float, before: Mapping[str, Stamp | None] = NOTHING
) -> tuple[list[OutputFile], list[str]]:
    """The files that are there, and what is wrong with those that must be; see `look`."""
    files, faults = [], []
    for output in outputs:
        found = look(output, directory, since, before)
        if isinstance(found, OutputFile):
            files.append(found)
        elif output.required:
            faults.append(found)
    return files, faults


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
