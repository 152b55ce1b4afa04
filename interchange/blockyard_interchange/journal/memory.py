"""A journal in memory: for pools of durability class `memory` and for tests. Survives nothing but `close`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from blockyard_interchange.journal.errors import JournalInUse, JournalUnavailable
from blockyard_interchange.journal.store import Row, Survey, bounds_after, checksum


class MemoryStore:
    """Chunks in a dictionary. The object is the journal: opening it again after `close` finds what was committed."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytes] = {}
        self._bounds = (1, 1)
        self._epoch = 0
        self._size = 0
        self._is_open = False

    @property
    def location(self) -> str:
        return "memory:"

    def open(self) -> int:
        if self._is_open:
            raise JournalInUse("open journal memory: it is open already, and has one writer. Close it first")
        self._is_open = True
        self._epoch += 1
        return self._epoch

    def bounds(self) -> tuple[int, int]:
        return self._bounds

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        self._require_open("read")
        for number in range(*self._bounds):
            yield number, self._chunks[number]

    def commit(self, append: Sequence[tuple[int, bytes]], drop: Sequence[int], *, sync: bool) -> None:
        """As the port says, except that `sync` cannot make memory outlive its process."""
        self._require_open("commit")
        self._bounds = bounds_after(self._bounds, append, drop)
        for number, body in append:
            self._chunks[number] = body
            self._size += len(body)
        for number in drop:
            self._size -= len(self._chunks.pop(number))

    def read(self, number: int) -> bytes:
        self._require_open("read")
        return self._chunks[number]

    def confirm(self) -> None:
        """Nobody else can have it."""

    def footprint(self, chunk_bytes: int) -> int:
        return chunk_bytes

    def size_bytes(self) -> int:
        return self._size

    def close(self) -> None:
        self._is_open = False

    @contextmanager
    def survey(self) -> Iterator[Survey]:
        """Look without opening; see `check`."""
        rows = (Row(n, len(b), checksum(n, b), b) for n, b in sorted(self._chunks.items()))
        yield Survey(self.location, self._epoch, self._bounds[0], (), self._size, rows)

    def _require_open(self, action: str) -> None:
        if not self._is_open:
            raise JournalUnavailable(f"{action} journal memory: it is not open. Call open() first")
