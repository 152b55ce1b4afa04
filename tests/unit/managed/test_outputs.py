"""When a file counts as written by a task."""

import os
import time
from pathlib import Path

import pytest

from blockyard.managed import outputs
from blockyard.managed.records import Output, OutputFile

HOUR = 3600.0
TABLE = Output(name="table", path="table.csv")


def _write(path: Path, at: float, text: str = "1,2") -> None:
    path.write_text(text)
    os.utime(path, (at, at))


@pytest.mark.parametrize("age", [HOUR, -HOUR])
def test_a_file_of_before_was_not_written_by_the_task(tmp_path: Path, age: float) -> None:
    """Not either by the clock of a file server that is ahead."""
    now = time.time()
    _write(tmp_path / TABLE.path, now - age)
    before = outputs.stamps([TABLE], str(tmp_path))
    found = outputs.look(TABLE, str(tmp_path), now, before)
    assert isinstance(found, str)
    assert "older than the task" in found


@pytest.mark.parametrize("was_there", [True, False])
def test_one_that_the_task_wrote_counts_although_the_clock_was_set_back(tmp_path: Path, was_there: bool) -> None:
    now = time.time()
    if was_there:
        _write(tmp_path / TABLE.path, now - 2 * HOUR)
    before = outputs.stamps([TABLE], str(tmp_path))
    _write(tmp_path / TABLE.path, now - HOUR, "3,4")
    assert isinstance(outputs.look(TABLE, str(tmp_path), now, before), OutputFile)


def test_of_one_that_was_not_looked_at_before_the_time_decides(tmp_path: Path) -> None:
    now = time.time()
    _write(tmp_path / TABLE.path, now - HOUR)
    assert isinstance(outputs.look(TABLE, str(tmp_path), now), str)
