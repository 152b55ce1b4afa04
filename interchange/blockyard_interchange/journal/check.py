"""Looking at a journal as a whole: every fault in one report, and the entries that can still be read.

Works beside a running interchange and changes nothing. What the entries mean is for the caller to decode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from blockyard_interchange.journal.errors import JournalDamaged
from blockyard_interchange.journal.store import Row, Survey, fault_in, gap_before

_decode = msgspec.msgpack.Decoder(list[bytes]).decode


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written; `chunk` is None when it is not about one chunk."""

    chunk: int | None
    text: str


@dataclass(frozen=True, slots=True)
class JournalReport:
    """What a journal holds. `chunks` and `entries` count the sound ones; `entry_bytes` is the sum of their lengths."""

    location: str
    epoch: int
    first: int
    chunks: int
    entries: int
    entry_bytes: int
    size_bytes: int
    faults: tuple[Fault, ...]

    @property
    def is_sound(self) -> bool:
        """Whether everything is as it was written."""
        return not self.faults


def report_on(survey: Survey) -> JournalReport:
    """Read all of it and count; ends early only where the store itself cannot be read on, which is a fault, too."""
    faults = [Fault(None, text) for text in survey.faults]
    chunks = entries = entry_bytes = 0
    expected = survey.first
    try:
        for row in survey.rows:
            if row.number != expected:
                faults.append(Fault(row.number, gap_before(row.number, expected)))
            expected = max(expected, row.number) + 1
            found = _entries_of(row)
            if isinstance(found, str):
                faults.append(Fault(row.number, found))
                continue
            chunks += 1
            entries += len(found)
            entry_bytes += sum(map(len, found))
    except JournalDamaged as error:
        faults.append(Fault(error.chunk if error.chunk is not None else expected, error.fault))
    return JournalReport(
        survey.location, survey.epoch, survey.first, chunks, entries, entry_bytes, survey.size_bytes, tuple(faults)
    )


def entries_in(survey: Survey, *, skip_damaged: bool = False) -> Iterator[tuple[int, bytes]]:
    """Chunk number and bytes of each entry, in order.

    Raises `JournalDamaged` at the first fault; with `skip_damaged` goes on behind it as far as the store can be read.
    """
    if survey.faults and not skip_damaged:
        raise JournalDamaged(survey.location, None, "; ".join(survey.faults))
    expected = survey.first
    try:
        for row in survey.rows:
            if row.number != expected and not skip_damaged:
                raise JournalDamaged(survey.location, row.number, gap_before(row.number, expected))
            expected = row.number + 1
            found = _entries_of(row)
            if not isinstance(found, str):
                yield from ((row.number, entry) for entry in found)
            elif not skip_damaged:
                raise JournalDamaged(survey.location, row.number, found)
    except JournalDamaged:
        if not skip_damaged:
            raise


def _entries_of(row: Row) -> list[bytes] | str:
    """The entries, or what is wrong with the row."""
    fault = fault_in(row)
    if fault is not None:
        return fault
    try:
        return _decode(row.body)
    except msgspec.DecodeError as error:
        return f"is no list of entries: {error}"
