"""The log of entries above a store: groups entries into chunks, replays them, and keeps the log short.

An entry is opaque bytes; what is in it, and whether it is still needed, only the reactor knows. So compaction is a
conversation: the log says which chunk is the oldest worth rewriting, the reactor says which of its entries still count,
and the log writes those again at the tail and drops the chunk in the same commit. Nothing here reads a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from blockyard_interchange.journal.errors import Fenced, JournalDamaged
from blockyard_interchange.journal.store import Store

FLOOR_BYTES = 4 * 1024 * 1024
"""Below this the log is not compacted, whatever of it is live."""

CHUNK_BYTES = 1024 * 1024
"""Above this a group is cut into several chunks of one commit, so that compacting one never stalls the queue."""

_SPREAD = 1.6
"""Compaction starts at this multiple of the live bytes; with free pages and page headers the file stays below 2."""

_WORTHWHILE = 0.1
_BACK_OFF = 1.25

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode


class _Group(NamedTuple):
    """A commit in the making: kept as it is until the store has confirmed it."""

    append: list[tuple[int, bytes]]
    drop: list[int]


@dataclass(slots=True)
class _Pass:
    """One way through the log by compaction, from its oldest chunk to what was the newest when it began.

    A pass that freed next to nothing means that the live bytes given were too low (an entry costs some bytes more than
    its length). Then the next one waits until the log has grown by a quarter, or the live bytes have shrunk by as much:
    so no log is rewritten again and again for nothing, and the work per appended byte is bounded.
    """

    end: int = 0
    total_bytes: int = 0
    freed_bytes: int = 0
    resume_total_bytes: int = 0
    resume_live_bytes: int = 0

    def is_worthwhile(self, oldest: int, end: int, total_bytes: int, live_bytes: int) -> bool:
        """Whether to go on at chunk `oldest`; begins the next pass when this one is through."""
        if self.end and oldest >= self.end:
            if self.freed_bytes < self.total_bytes * _WORTHWHILE:
                self.resume_total_bytes = int(total_bytes * _BACK_OFF)
                self.resume_live_bytes = int(live_bytes / _BACK_OFF)
            self.end = 0
        if total_bytes <= self.resume_total_bytes and live_bytes >= self.resume_live_bytes:
            return False
        if not self.end:
            self.end, self.total_bytes, self.freed_bytes = end, total_bytes, 0
            self.resume_total_bytes = 0
        return True


class Log:
    """The writer's end of a journal. Open it, exhaust `replay`, then append and commit. One thread."""

    def __init__(self, store: Store, *, floor_bytes: int = FLOOR_BYTES) -> None:
        self._store = store
        self._floor_bytes = floor_bytes
        self._epoch = 0
        self._bounds = (1, 1)
        self._chunks: deque[tuple[int, int]] = deque()  # number, footprint; oldest first, without those being dropped
        self._dropping: list[int] = []
        self._staged: list[bytes] = []
        self._staged_bytes = 0
        self._group: _Group | None = None
        self._total_bytes = 0
        self._compaction = _Pass()

    @property
    def location(self) -> str:
        """Where the journal is, for people."""
        return self._store.location

    @property
    def epoch(self) -> int:
        """Of the last `open` or `reopen`."""
        return self._epoch

    @property
    def total_bytes(self) -> int:
        """Footprint of all chunks that stay, and of what is staged."""
        return self._total_bytes + self._staged_bytes

    @property
    def staged_bytes(self) -> int:
        """Bytes of entries appended and not yet handed to the store."""
        return self._staged_bytes

    def size_bytes(self) -> int:
        """Bytes on disk now."""
        return self._store.size_bytes()

    def open(self) -> int:
        """Become the writer; returns the epoch, greater than any before. Errors as `Store.open`."""
        self._epoch = self._store.open()
        self._bounds = self._store.bounds()
        self._chunks.clear()
        self._total_bytes = 0
        return self._epoch

    def replay(self) -> Iterator[bytes]:
        """Every entry, in the order of its commit. To be exhausted once, right after `open`, before any `append`.

        Raises `JournalDamaged` at the first chunk that is not as it was written; nothing may be trusted then.
        """
        for number, body in self._store.chunks():
            yield from self._entries_of(number, body)
            self._keep(number, len(body))

    def append(self, entry: bytes) -> None:
        """Stage an entry for the next commit."""
        self._staged.append(entry)
        self._staged_bytes += len(entry)

    def commit(self, *, sync: bool) -> None:
        """Write everything staged, in one transaction. Returns at once when nothing is.

        After `JournalFull` nothing has changed and everything is still staged: call it again when there is space.
        After `JournalUnavailable` call `reopen`, then this again; what was in doubt is then written once, not twice.
        """
        while self._group is not None or self._staged or self._dropping:
            if self._group is None:
                self._group = self._seal()
            self._store.commit(self._group.append, self._group.drop, sync=sync)
            self._settle(self._group)

    def confirm(self) -> None:
        """Look whether this is still the writer. Raises `Fenced`, `JournalUnavailable`."""
        self._store.confirm()

    def reopen(self) -> int:
        """Open the store again after `JournalUnavailable` and find out whether the commit in doubt was kept.

        Raises `Fenced` when another writer had the journal in between: the state of this one is then out of date.
        """
        self._store.close()
        epoch = self._store.open()
        expected, self._epoch = self._epoch + 1, epoch
        if epoch != expected:
            raise Fenced(
                f"reopen journal {self.location}: this is opening {epoch}, expected {expected}, so another interchange "
                "had it in between. Stop this one, or start it anew so that it replays the journal"
            )
        self._resolve_doubt(self._store.bounds())
        return epoch

    def oldest_to_compact(self, live_bytes: int) -> int | None:
        """The chunk to rewrite now, or None. `live_bytes`: sum of the lengths of all entries still needed.

        Ask again after each `replace_oldest` as long as there is time; the work is proportional to what was appended.
        """
        if not self._chunks or self.total_bytes <= max(self._floor_bytes, int(live_bytes * _SPREAD)):
            return None
        number = self._chunks[0][0]
        if not self._compaction.is_worthwhile(number, self._bounds[1], self.total_bytes, live_bytes):
            return None
        return number

    def entries(self, number: int) -> list[bytes]:
        """The entries of one chunk that is neither dropped nor being dropped."""
        return self._entries_of(number, self._store.read(number))

    def replace_oldest(self, kept: Sequence[bytes]) -> None:
        """Stage what is still needed of the oldest chunk; the next commit writes it at the tail and drops the chunk."""
        number, footprint = self._chunks.popleft()
        self._dropping.append(number)
        self._total_bytes -= footprint
        self._staged.extend(kept)
        kept_bytes = sum(map(len, kept))
        self._staged_bytes += kept_bytes
        self._compaction.freed_bytes += footprint - kept_bytes

    def close(self) -> None:
        """Give the journal up. What is staged and not committed is lost; idempotent."""
        self._store.close()

    def _seal(self) -> _Group:
        """Take everything staged as one commit; the entries in order, cut where a chunk would grow too large."""
        bodies: list[bytes] = []
        if self._staged_bytes > CHUNK_BYTES:
            bodies = [_encode(part) for part in _parts(self._staged)]
        elif self._staged:
            bodies = [_encode(self._staged)]
        group = _Group(list(enumerate(bodies, self._bounds[1])), self._dropping)
        self._staged, self._staged_bytes, self._dropping = [], 0, []
        return group

    def _settle(self, group: _Group) -> None:
        first, end = self._bounds
        self._bounds = (first + len(group.drop), end + len(group.append))
        for number, body in group.append:
            self._keep(number, len(body))
        self._group = None

    def _resolve_doubt(self, found: tuple[int, int]) -> None:
        if found == self._bounds:
            return  # not kept: the next commit tries again
        first, end = self._bounds
        group = self._group
        if group is None or found != (first + len(group.drop), end + len(group.append)):
            raise JournalDamaged(
                self.location, None, f"holds chunks {range(*found)} after reopening, {range(first, end)} were confirmed"
            )
        for number, body in group.append:
            if self._store.read(number) != body:
                raise JournalDamaged(self.location, number, "is not what this process wrote before reopening")
        self._settle(group)

    def _keep(self, number: int, chunk_bytes: int) -> None:
        footprint = self._store.footprint(chunk_bytes)
        self._chunks.append((number, footprint))
        self._total_bytes += footprint

    def _entries_of(self, number: int, body: bytes) -> list[bytes]:
        try:
            return _decode(body)
        except msgspec.DecodeError as error:
            raise JournalDamaged(self.location, number, f"is no list of entries: {error}") from error


def _parts(entries: Sequence[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    part_bytes = 0
    for entry in entries:
        if part and part_bytes + len(entry) > CHUNK_BYTES:
            yield part
            part, part_bytes = [], 0
        part.append(entry)
        part_bytes += len(entry)
    yield part
