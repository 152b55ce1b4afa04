"""The port of the journal: a log of numbered opaque chunks, and the rules that every store keeps.

Numbers start at 1 and are dense: a chunk is appended as last + 1 (also after a restart and after all were dropped) and
dropped from the oldest end only. Therefore the chunks present are exactly ``range(first, end)``, `first` is recorded
beside them, and any other picture is damage. Each chunk is kept with its length and a CRC-32 that covers its number and
its bytes. What is inside a chunk is `log`'s business, when to drop one the reactor's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol
from zlib import crc32

from blockyard_interchange.journal.errors import JournalDamaged

FORMAT = 1
"""Version of what the stores and chunks look like; kept in the store, compared at open. Raise it with every change."""

_MASK = 0xFFFFFFFF


class Store(Protocol):
    """One journal, with at most one writer in the world. Not thread-safe: all calls from the thread that opened it.

    Every method may raise `JournalError`; using a store that is not open raises `JournalUnavailable`.
    """

    @property
    def location(self) -> str:
        """Where the journal is, for people: a path, or server and database. Holds no secret."""
        ...

    def open(self) -> int:
        """Become the writer and return the epoch of this opening: at least 1, greater than any before.

        Raises `JournalInUse`, `JournalVersion`, `JournalDamaged`, `JournalUnavailable`, `JournalFull`. A store that
        was closed or lost its connection can be opened again.
        """
        ...

    def bounds(self) -> tuple[int, int]:
        """``(first, end)``: the chunks present are ``range(first, end)``, the next one appended is `end`."""
        ...

    def chunks(self) -> Iterable[tuple[int, bytes]]:
        """All chunks, oldest first, each verified. Raises `JournalDamaged` at the first that is not as written."""
        ...

    def commit(self, append: Sequence[tuple[int, bytes]], drop: Sequence[int], *, sync: bool) -> None:
        """Append and drop in one transaction: all of it or nothing.

        `append` goes on at `end`, `drop` begins at `first`, both ascending without gaps (else `ValueError`). With
        ``sync=False`` the commit survives the death of any process, with ``sync=True`` also the loss of power, and
        then so does every commit before it. `JournalFull` and `ValueError` change nothing; after `JournalUnavailable`
        the outcome is unknown until the store was opened again.
        """
        ...

    def read(self, number: int) -> bytes:
        """The bytes of one chunk, verified. `LookupError` when it is not in `bounds`."""
        ...

    def confirm(self) -> None:
        """Look whether this is still the writer, when nothing was committed for some time.

        Raises `Fenced` when another one is, and `JournalUnavailable`.
        """
        ...

    def footprint(self, chunk_bytes: int) -> int:
        """Bytes that a chunk of that size takes on disk, packing included."""
        ...

    def size_bytes(self) -> int:
        """Bytes on disk now, all files of the journal."""
        ...

    def close(self) -> None:
        """Stop being the writer. Idempotent; never raises because of the state of the journal."""
        ...


class Row(NamedTuple):
    """A chunk as it lies in a store, not verified."""

    number: int
    size: int
    crc: int
    body: bytes


class Survey(NamedTuple):
    """An unverified look at a journal, made without becoming its writer. `rows` may be consumed once."""

    location: str
    epoch: int
    first: int
    faults: tuple[str, ...]
    size_bytes: int
    rows: Iterator[Row]


def checksum(number: int, body: bytes) -> int:
    """CRC-32 of the bytes, started from the number: a chunk that lies under another number does not match either."""
    return crc32(body, number & _MASK)


def fault_in(row: Row) -> str | None:
    """Say what is wrong with a row by itself, or None."""
    if type(row.body) is not bytes or type(row.number) is not int:
        return "is not stored as bytes"
    if len(row.body) != row.size:
        return f"is truncated or padded: {len(row.body)} bytes found, {row.size} recorded"
    found = checksum(row.number, row.body)
    if found != row.crc:
        return f"has a wrong checksum: CRC-32 {found:08x} found, {row.crc:08x} recorded"
    return None


def gap_before(number: int, expected: int) -> str:
    """Say which chunks are absent, or unexpected, when `number` was found where `expected` should be."""
    if number < expected:
        return f"should not be there: chunk {expected} was expected"
    missing = f"chunk {expected} is" if number == expected + 1 else f"chunks {expected} to {number - 1} are"
    return f"{missing} missing before it"


def verified(rows: Iterable[Row], first: int, end: int, where: str) -> Iterator[tuple[int, bytes]]:
    """Pass on number and bytes of each row; raise `JournalDamaged` unless they are exactly the range, unchanged."""
    expected = first
    for row in rows:
        if row.number != expected:
            raise JournalDamaged(where, row.number, gap_before(row.number, expected))
        fault = fault_in(row)
        if fault is not None:
            raise JournalDamaged(where, row.number, fault)
        yield row.number, row.body
        expected += 1
    if expected != end:
        raise JournalDamaged(where, expected, f"is missing: the journal should go on to chunk {end - 1}")


def bounds_after(bounds: tuple[int, int], append: Sequence[tuple[int, bytes]], drop: Sequence[int]) -> tuple[int, int]:
    """The bounds after a commit; `ValueError` when it does not fit them."""
    first, end = bounds
    oldest = end
    for number, _ in append:
        if number != end:
            raise ValueError(f"append: chunk {number} given where {end} is next")
        end += 1
    for number in drop:
        if number != first or number >= oldest:
            raise ValueError(f"drop: chunk {number} given, only the oldest one may go ({first}, below {oldest})")
        first += 1
    return first, end
