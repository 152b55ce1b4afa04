"""SIGKILL of a process that writes, at random moments: what it was told is committed is there afterwards."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from blockyard_interchange.journal import JournalInUse, check
from tests.contract.journal.places import AnyStore, Place
from tests.contract.journal.writer import body_of
from tests.machine import Size

WRITER = Path(__file__).with_name("writer.py")
OPEN_SECONDS = 20.0


class Confirmed(NamedTuple):
    """The bounds that the writer last said were committed."""

    first: int
    end: int


@pytest.mark.soak
@pytest.mark.parametrize("sync", ["unsynced", "sync"])
def test_every_confirmed_commit_outlives_a_killed_writer(lasting_place: Place, size: Size, sync: str) -> None:
    kills = 8 if size is Size.SMALL else 300
    dice = random.Random(kills)
    last = Confirmed(1, 1)
    epoch = 0
    for _ in range(kills):
        last = write_until_killed(lasting_place, sync, commits=dice.randrange(1, 120), confirmed=last)
        store = lasting_place.store()
        now = open_patiently(store)
        assert now > epoch
        epoch = now
        found = dict(store.chunks())
        first, end = store.bounds()
        store.close()
        assert first >= last.first
        assert end >= last.end
        assert list(found) == list(range(first, end))
        assert all(body == body_of(number) for number, body in found.items())


def test_the_check_reads_beside_a_process_that_writes(lasting_place: Place) -> None:
    with started(lasting_place, "unsynced") as process:
        try:
            read_lines(process, 20)
            seen = check(lasting_place.url, name=lasting_place.name)
            assert seen.first >= 1
            assert [fault for fault in seen.faults if "no list of entries" not in fault.text] == []
            read_lines(process, 20)
        finally:
            process.kill()


def write_until_killed(place: Place, sync: str, *, commits: int, confirmed: Confirmed) -> Confirmed:
    """Start a writer, kill it after so many confirmations, and return the last one it gave at all."""
    with started(place, sync) as process:
        try:
            lines = read_lines(process, commits)
        finally:
            process.kill()
        assert process.stdout is not None
        lines += process.stdout.read().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    if not whole:
        return confirmed
    first, end = map(int, whole[-1].split())
    return Confirmed(first, end)


def started(place: Place, sync: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, str(WRITER), place.url, place.name, sync]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


def read_lines(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count)]
    assert lines[-1], f"the writer ended with {process.wait()} after {len([x for x in lines if x])} commits"
    return lines


def open_patiently(store: AnyStore) -> int:
    """A server may need a moment to notice that the last writer is dead."""
    deadline = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            return store.open()
        except JournalInUse as refused:
            if time.monotonic() > deadline:
                pytest.fail(f"still refused after {OPEN_SECONDS:g} s: {refused}")
            time.sleep(0.01)
