"""The file of a SQLite journal: its tables, how it is made, checked and read, and what SQLite's errors mean for us.

Used by the store, which writes, and by the survey, which only looks. Pragmas: https://sqlite.org/pragma.html.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple
from zlib import crc32

from blockyard_interchange.journal.errors import (
    Fenced,
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalInUse,
    JournalUnavailable,
    JournalVersion,
)
from blockyard_interchange.journal.mark import NOTHING, Standing, read_mark
from blockyard_interchange.journal.store import FORMAT, Row, Survey

PAGE_BYTES = 4096
WAL_PAGES = 1000
"""Pages in the write-ahead log after which SQLite copies them into the database: about 4 MiB."""

_NO_BOUND = 2**63 - 1
_SELECT_ROWS = "SELECT number, size, crc, body FROM chunk WHERE number < ? ORDER BY number"
_SCHEMA = {
    "journal": (
        "CREATE TABLE journal (only INTEGER PRIMARY KEY CHECK (only = 1), epoch INTEGER NOT NULL, "
        "first INTEGER NOT NULL, durable INTEGER NOT NULL, crc INTEGER NOT NULL)"
    ),
    "chunk": (
        "CREATE TABLE chunk (number INTEGER PRIMARY KEY, size INTEGER NOT NULL, crc INTEGER NOT NULL, "
        "body BLOB NOT NULL)"
    ),
}


class Head(NamedTuple):
    """The one row of table `journal`. `durable`: a synced commit was made once, so power loss matters from then on."""

    epoch: int
    first: int
    durable: bool

    def columns(self) -> tuple[int, int, int, int]:
        """In the order of the table, with their CRC-32."""
        return self.epoch, self.first, int(self.durable), self._crc()

    def _crc(self) -> int:
        return crc32(b"%d %d %d" % (self.epoch, self.first, self.durable))


NEW_HEAD = Head(epoch=0, first=1, durable=False)


def connect(path: str, *, mode: str) -> sqlite3.Connection:
    """Open the database file in SQLite's `mode` (rw, ro); statements commit themselves unless BEGIN was said."""
    uri = f"file:{_quoted(path)}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=32, timeout=2.0)


def refuse_lost_file(path: str, mark: Standing) -> None:
    """Before SQLite sees the path: raise `JournalDamaged` when an empty or absent file once held a journal.

    SQLite would take it for a new database and remove the write-ahead log that belonged to the old one.
    """
    if os.path.exists(path) and os.path.getsize(path) > 0:
        return
    if mark != NOTHING or os.path.exists(path + "-wal"):
        raise JournalDamaged(
            path,
            None,
            f"the file is empty or absent, but it had got to epoch {mark.epoch}, chunk {mark.end - 1}. To start a new "
            "journal on purpose, remove the files beside it that begin with its name",
        )


def prepare(db: sqlite3.Connection) -> None:
    """Set what must be set before the first table exists, and what holds for this connection only."""
    db.execute(f"PRAGMA page_size={PAGE_BYTES}")
    db.execute("PRAGMA auto_vacuum=INCREMENTAL")
    (journal_mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
    if journal_mode != "wal":
        raise JournalUnavailable(
            f"open journal: SQLite keeps to journal_mode={journal_mode!r} where 'wal' was asked for. The file system "
            "cannot share memory between processes; put the journal on a local disk"
        )
    db.execute("PRAGMA secure_delete=OFF")  # Debian's default is ON: zeroes each dropped page, for nothing
    db.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
    db.execute(f"PRAGMA journal_size_limit={PAGE_BYTES * WAL_PAGES}")


def is_new(db: sqlite3.Connection) -> bool:
    """Whether no journal was ever made in the file; a start that was cut short leaves it new."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(version == 0 and tables == 0)


def create(db: sqlite3.Connection) -> None:
    """Make the tables and the version in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.values():
        db.execute(statement)
    db.execute("INSERT INTO journal VALUES (1, ?, ?, ?, ?)", NEW_HEAD.columns())
    db.execute(f"PRAGMA user_version={FORMAT}")
    db.execute("COMMIT")


def structure_faults(db: sqlite3.Connection, path: str) -> list[str]:
    """What SQLite itself finds wrong with the file, and where the tables differ from ours.

    Raises `JournalVersion` for a sound file of another version.
    """
    faults = [f"SQLite's quick_check says: {line}" for (line,) in db.execute("PRAGMA quick_check(20)") if line != "ok"]
    if faults:
        return faults
    if is_new(db):
        return ["it holds no journal: its write-ahead log was damaged or removed, or it was never begun"]
    (version,) = db.execute("PRAGMA user_version").fetchone()
    found = dict(db.execute("SELECT name, sql FROM sqlite_master").fetchall())
    if version != FORMAT:
        if found == _SCHEMA:
            return [f"its version is recorded as {version}, but the tables are those of version {FORMAT}"]
        raise JournalVersion(
            f"open journal {path!r}: it has version {version}, this Blockyard reads version {FORMAT}. Use the "
            "Blockyard that wrote it, or drain with that one and start a new journal"
        )
    if found != _SCHEMA:
        return [f"its tables are {found!r}, expected {_SCHEMA!r}"]
    return []


def read_head(db: sqlite3.Connection, path: str) -> Head:
    """The verified row of table `journal`."""
    rows = db.execute("SELECT epoch, first, durable, crc FROM journal").fetchall()
    if len(rows) == 1 and all(type(value) is int for value in rows[0]):
        head = Head(rows[0][0], rows[0][1], bool(rows[0][2]))
        if head.columns() == rows[0]:
            return head
    raise JournalDamaged(path, None, f"the row of table journal is not as it was written: {rows!r}")


def read_standing(db: sqlite3.Connection, head: Head) -> Standing:
    """Where the file stands by its head and its newest chunk."""
    (newest,) = db.execute("SELECT max(number) FROM chunk").fetchone()
    return Standing(head.epoch, head.first, head.first if newest is None else newest + 1)


def fault_against_mark(found: Standing, mark: Standing) -> tuple[int | None, str] | None:
    """Chunk and fault when the file lags behind what was vouched for; pure."""
    if found.end < mark.end:
        last = mark.end - 1
        lost = f"chunk {last} is" if found.end == last else f"chunks {found.end} to {last} are"
        return found.end, (
            f"{lost} missing at the end, though committed: the write-ahead log was damaged or removed, or its disk "
            "failed before they were on it. To go on without them, remove the file beside it that ends in .mark"
        )
    if found.epoch < mark.epoch or found.first < mark.first:
        return None, (
            f"it has gone back to epoch {found.epoch}, first chunk {found.first}, from epoch {mark.epoch}, first chunk "
            f"{mark.first}: the write-ahead log was damaged or removed, or an old copy was put in place"
        )
    return None


def inspect(path: str, mark: Standing) -> tuple[int, int]:
    """Check a journal before it is opened for writing and return its bounds.

    Raises `JournalDamaged` or `JournalVersion`. Looks through a read-only connection: one that may write would end by
    copying what it understood of a damaged write-ahead log into the database and removing the rest.
    """
    refuse_lost_file(path, mark)
    if not os.path.exists(path):
        return 1, 1
    with closing(connect(path, mode="ro")) as db:
        if is_new(db) and mark == NOTHING:
            return 1, 1
        faults = structure_faults(db, path)
        if faults:
            raise JournalDamaged(path, None, "; ".join(faults))
        found = read_standing(db, read_head(db, path))
    lag = fault_against_mark(found, mark)
    if lag is not None:
        raise JournalDamaged(path, *lag)
    if found.end < found.first:
        raise JournalDamaged(path, found.end - 1, f"should have been dropped: chunk {found.first} is the first")
    return found.first, found.end


@contextmanager
def survey(path: str) -> Iterator[Survey]:
    """Look at a journal, in use or not, at one moment and without changing anything."""
    mark = read_mark(path + ".mark")  # before the rest, which may grow meanwhile
    refuse_lost_file(path, mark)
    with mapped_errors(path, "survey"), closing(connect(path, mode="ro")) as db:
        db.execute("BEGIN")
        try:
            faults = structure_faults(db, path)
        except sqlite3.DatabaseError as error:
            faults = [f"SQLite could not check it: {error}"]
        try:
            head = read_head(db, path)
            standing = read_standing(db, head)
        except (JournalDamaged, sqlite3.DatabaseError) as error:
            faults.append(error.fault if isinstance(error, JournalDamaged) else f"its head is unreadable: {error}")
            head = NEW_HEAD._replace(epoch=mark.epoch, first=mark.first)
        else:
            lag = fault_against_mark(standing, mark)
            faults += [lag[1]] if lag else []
        yield Survey(path, head.epoch, head.first, tuple(faults), disk_bytes(path), rows_below(db, _NO_BOUND, path))


def rows_below(db: sqlite3.Connection, end: int, path: str) -> Iterator[Row]:
    """The rows up to that number, unverified."""
    with mapped_errors(path, "read"):
        for row in db.execute(_SELECT_ROWS, (end,)):
            yield Row(*row)


def disk_bytes(path: str) -> int:
    """Size of the database and its write-ahead log; the rest is small and constant."""
    total = 0
    for name in (path, path + "-wal"):
        try:
            total += os.stat(name).st_size
        except FileNotFoundError:
            continue
    return total


@contextmanager
def mapped_errors(path: str, action: str) -> Iterator[None]:
    """Raise our errors in place of SQLite's and the system's."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise mapped(error, path, action) from error


def mapped(error: sqlite3.Error | OSError, path: str, action: str) -> JournalError:
    """Our error for one of SQLite's or the system's; by primary result code, https://sqlite.org/rescode.html.

    An error without such a code is a mistake of ours and is raised as it is.
    """
    full = f"{action} journal {path!r}: no space left ({error}). Free space on that disk and try again"
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return JournalFull(full)
        return JournalUnavailable(f"{action} journal {path!r}: {error}. Check the folder and its rights")
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:
        raise error
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return JournalFull(full)
        case sqlite3.SQLITE_IOERR if _is_disk_full(path):
            return JournalFull(full)  # for example the shared-memory file could not grow
        case sqlite3.SQLITE_IOERR if code == sqlite3.SQLITE_IOERR_SHORT_READ:
            return JournalDamaged(path, None, "the file ends too early")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return JournalInUse(f"{action} journal {path!r}: {error}. Another program holds the file; end it")
        case sqlite3.SQLITE_CONSTRAINT:
            return Fenced(f"{action} journal {path!r}: {error}. Another process has written to it; stop this one")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR | sqlite3.SQLITE_FORMAT:
            return JournalDamaged(path, None, f"SQLite could not {action} it: {error}")
        case _:
            return JournalUnavailable(f"{action} journal {path!r}: {error}. Check disk, folder and rights, then reopen")


def _is_disk_full(path: str) -> bool:
    disk = os.statvfs(os.path.dirname(path) or ".")
    return disk.f_bavail * disk.f_frsize < 64 * 1024 or (disk.f_files > 0 and disk.f_favail == 0)


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
