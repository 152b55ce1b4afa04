"""A journal in one SQLite file: the default of a single machine.

Write-ahead log, one transaction per commit, one writer by a lock file. Without `sync` nothing waits for the disk: what
was written lives in the kernel's page cache, which outlives every process, but not the machine. With `sync` each commit
waits for the disk. The first synced commit of a journal makes checkpoints wait, too, for ever: otherwise power loss
could tear pages that were synced before. Beside the file lie `-wal` and `-shm` (SQLite's), `.lock` and `.mark`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from blockyard_interchange.journal import sqlite_file
from blockyard_interchange.journal.errors import JournalDamaged, JournalInUse, JournalUnavailable
from blockyard_interchange.journal.lock import WriterLock
from blockyard_interchange.journal.mark import Mark, Standing
from blockyard_interchange.journal.sqlite_file import PAGE_BYTES, Head, mapped, mapped_errors
from blockyard_interchange.journal.store import Row, Survey, bounds_after, checksum, fault_in, verified

logger = logging.getLogger(__name__)

_INSERT = "INSERT INTO chunk VALUES (?, ?, ?, ?)"
_SET_HEAD = "UPDATE journal SET epoch=?, first=?, durable=?, crc=?"

# SQLite's table b-tree, https://sqlite.org/fileformat2.html: what fits a leaf, and what stays there of a longer row.
_LEAF_BYTES = PAGE_BYTES - 35
_LEAF_LEAST_BYTES = (PAGE_BYTES - 12) * 32 // 255 - 23
_ROW_BYTES = 24
_SPARE_PAGES = 512
_SHRINK_STEP_PAGES = 1024


class SQLiteStore:
    """The store for ``sqlite:///PATH``. The folder must exist, on a local disk; files are made 0600."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.abspath(path)
        self._lock = WriterLock(self._path + ".lock")
        self._mark = Mark(self._path + ".mark")
        self._mark_is_written = True
        self._file = -1
        self._db: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor
        self._head = sqlite_file.NEW_HEAD
        self._bounds = (1, 1)
        self._is_sync = False
        self._has_free_pages = True

    @property
    def location(self) -> str:
        return self._path

    def open(self) -> int:
        if self._db is not None:
            raise JournalInUse(f"open journal {self._path!r}: this store has it open already. Close it first")
        with mapped_errors(self._path, "open"):
            self._lock.acquire()
            try:
                self._open_locked()
            except BaseException:
                self.close()
                raise
        return self._head.epoch

    def bounds(self) -> tuple[int, int]:
        return self._bounds

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        rows = sqlite_file.rows_below(self._opened("read"), self._bounds[1], self._path)
        return verified(rows, *self._bounds, self._path)

    def commit(self, append: Sequence[tuple[int, bytes]], drop: Sequence[int], *, sync: bool) -> None:
        if self._db is None:
            self._opened("commit")
        bounds = bounds_after(self._bounds, append, drop)
        try:
            if sync is not self._is_sync:
                self._set_sync(sync=sync)
            if len(append) == 1 and not drop:
                number, body = append[0]
                self._cursor.execute(_INSERT, (number, len(body), checksum(number, body), body))
            else:
                self._transact(append, bounds[0])
        except (sqlite3.Error, OSError) as error:
            self._roll_back()
            raise mapped(error, self._path, "commit to") from error
        self._bounds = bounds
        self._vouch(synced=sync)
        if drop or self._has_free_pages:
            self._shrink()

    def read(self, number: int) -> bytes:
        db = self._opened("read")
        if not self._bounds[0] <= number < self._bounds[1]:
            raise LookupError(f"read chunk {number} of journal {self._path!r}: it has chunks {range(*self._bounds)}")
        with mapped_errors(self._path, "read"):
            found = db.execute("SELECT number, size, crc, body FROM chunk WHERE number = ?", (number,)).fetchone()
        if found is None:
            raise JournalDamaged(self._path, number, "is missing")
        row = Row(*found)
        fault = fault_in(row)
        if fault is not None:
            raise JournalDamaged(self._path, number, fault)
        return row.body

    def confirm(self) -> None:
        """Its lock ends with this process only."""

    def footprint(self, chunk_bytes: int) -> int:
        row_bytes = chunk_bytes + _ROW_BYTES
        if row_bytes <= _LEAF_BYTES:
            return PAGE_BYTES // ((PAGE_BYTES - 8) // row_bytes)
        overflow_pages = -(-(row_bytes - _LEAF_LEAST_BYTES) // (PAGE_BYTES - 4))
        return overflow_pages * PAGE_BYTES + _LEAF_LEAST_BYTES

    def size_bytes(self) -> int:
        return sqlite_file.disk_bytes(self._path)

    def close(self) -> None:
        if self._db is not None:
            try:
                self._db.close()
            except sqlite3.Error as error:
                logger.warning("closing journal %s: %s; the next opening recovers it", self._path, error)
            self._db = None
        self._mark.close()
        if self._file >= 0:
            os.close(self._file)  # after SQLite: closing any descriptor of a file drops the locks a process has on it
            self._file = -1
        self._lock.release()

    def survey(self) -> AbstractContextManager[Survey]:
        """Look without becoming the writer; see `check`."""
        return sqlite_file.survey(self._path)

    def _open_locked(self) -> None:
        mark = self._mark.open()
        self._mark_is_written = True
        self._bounds = sqlite_file.inspect(self._path, mark)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock.lock_too(self._file, self._path)
        self._db = db = sqlite_file.connect(self._path, mode="rw")
        self._cursor = db.cursor()
        sqlite_file.prepare(db)
        if sqlite_file.is_new(db):
            sqlite_file.create(db)
        self._head = sqlite_file.read_head(db, self._path)
        self._has_free_pages = True  # until the first commit has looked
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        """Make the epoch survive even power loss: others may have seen it before that."""
        self._is_sync = True
        self._cursor.execute("PRAGMA synchronous=FULL")
        self._write_head(self._head._replace(epoch=self._head.epoch + 1))
        os.fsync(self._file)
        self._sync_folder()
        self._vouch(synced=True)
        self._lock.name_holder(self._head.epoch)
        self._set_sync(sync=False)

    def _set_sync(self, *, sync: bool) -> None:
        if sync and not self._head.durable:
            os.fsync(self._file)  # what checkpoints wrote so far without waiting
            self._cursor.execute("PRAGMA synchronous=FULL")
            self._write_head(self._head._replace(durable=True))
        level = "FULL" if sync else "NORMAL" if self._head.durable else "OFF"
        self._cursor.execute(f"PRAGMA synchronous={level}")
        self._is_sync = sync

    def _transact(self, append: Sequence[tuple[int, bytes]], first: int) -> None:
        execute = self._cursor.execute
        execute("BEGIN IMMEDIATE")
        for number, body in append:
            execute(_INSERT, (number, len(body), checksum(number, body), body))
        head = self._head
        if first != head.first:
            execute("DELETE FROM chunk WHERE number < ?", (first,))
            head = head._replace(first=first)
            execute(_SET_HEAD, head.columns())
        execute("COMMIT")
        self._head = head

    def _write_head(self, head: Head) -> None:
        self._cursor.execute(_SET_HEAD, head.columns())
        self._head = head

    def _roll_back(self) -> None:
        db = self._db
        if db is not None and db.in_transaction:
            db.execute("ROLLBACK")

    def _vouch(self, *, synced: bool) -> None:
        try:
            self._mark.write(Standing(self._head.epoch, *self._bounds), synced=synced)
            self._mark_is_written = True
        except OSError as error:
            # The commit is done and must not be reported as failed; only a later loss of the tail may go unnoticed.
            if self._mark_is_written:
                logger.warning("journal %s: cannot write %s: %s", self._path, self._mark.path, error)
            self._mark_is_written = False

    def _shrink(self) -> None:
        """Give free pages back to the disk, in steps, while there are more than the next chunks will use."""
        try:
            (free,) = self._cursor.execute("PRAGMA freelist_count").fetchone()
            (pages,) = self._cursor.execute("PRAGMA page_count").fetchone()
            excess = free - _SPARE_PAGES - (pages - free) // 8
            self._has_free_pages = excess > 0
            if self._has_free_pages:
                step = min(excess, max(excess // 2, _SHRINK_STEP_PAGES))
                # A script, because `execute` takes one step of it, and each step frees one page.
                self._cursor.executescript(f"PRAGMA incremental_vacuum({step})")
                if step >= excess:  # the file itself ends earlier only after a checkpoint
                    self._cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            # The commit is done; when the disk is full or broken, the next one will say so.
            self._roll_back()
            logger.warning("journal %s: cannot give free pages back: %s", self._path, error)

    def _sync_folder(self) -> None:
        folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _opened(self, action: str) -> sqlite3.Connection:
        if self._db is None:
            raise JournalUnavailable(f"{action} journal {self._path!r}: it is not open. Call open() first")
        return self._db
