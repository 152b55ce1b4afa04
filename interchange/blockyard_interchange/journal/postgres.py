"""A journal in PostgreSQL: for an interchange that may move between machines.

One writer by a session-level advisory lock, which the server gives back when the connection dies, and by the epoch,
which every commit compares under a row lock: even a writer whose lock was lost unnoticed changes nothing any more.

A commit is one round trip: prepared statements in pipeline mode, one implicit transaction. Without `sync` the server
confirms before its disk does (``synchronous_commit=off``): what it confirmed survives this process, but not the server.
So the last commits are kept here as well until a synced one has made them safe, and the next `open` of the same object
writes again what a server that was killed has forgotten. Lost is only what both forgot: at most the commits of the
server's last three ``wal_writer_delay`` (0.6 s) when both die at once. Reconnecting is the caller's decision.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from blockyard.errors import ConfigError
from blockyard_interchange.journal import postgres_tables as tables
from blockyard_interchange.journal.errors import (
    Fenced,
    JournalDamaged,
    JournalError,
    JournalInUse,
    JournalUnavailable,
    JournalVersion,
)
from blockyard_interchange.journal.postgres_tables import Statement, bigint
from blockyard_interchange.journal.store import FORMAT, Row, Survey, bounds_after, checksum, fault_in, verified
from blockyard_interchange.journal.unsafe_tail import UnsafeTail

if TYPE_CHECKING:
    from blockyard_interchange.journal.postgres_server import Server

logger = logging.getLogger(__name__)

_FIRST_PAGE_ROWS = 16
_MOST_PAGE_ROWS = 4096
_PAGE_BYTES = 4 * 1024 * 1024
_ROW_BYTES = 100  # tuple header, columns, and the entry of the primary key
_TOAST_BYTES = 2048  # pieces of a body, https://www.postgresql.org/docs/current/storage-toast.html
_TOAST_PIECE_BYTES = 1996


class PostgresStore:
    """The store for ``postgresql://…``: the journal `name` in that database. The tables are made when absent."""

    def __init__(self, dsn: str, name: str) -> None:
        self._dsn = dsn
        self._name = name
        self._server: Server | None = None
        self._epoch = 0
        self._bounds = (1, 1)
        self._is_sync = True
        self._tail = UnsafeTail()

    @property
    def location(self) -> str:
        return _driver().whereabouts(self._dsn, self._name)

    def open(self) -> int:
        if self._server is not None and self._server.is_usable:
            raise JournalInUse(f"open journal {self.location}: this store has it open already. Close it first")
        server = _driver()(self._dsn, self.location, f"blockyard interchange {self._name}")
        try:
            self._create_tables(server)
            self._take_lock(server)
            server.prepare("append", tables.APPEND)
            server.prepare("drop", tables.DROP)
            self._begin_epoch(server, *self._look(server))
        except BaseException:
            server.close()
            raise
        self._server, self._is_sync = server, True
        self._tail.clear()
        return self._epoch

    def bounds(self) -> tuple[int, int]:
        return self._bounds

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        rows = self._rows(self._opened("read"), *self._bounds)
        return verified(rows, *self._bounds, self.location)

    def commit(self, append: Sequence[tuple[int, bytes]], drop: Sequence[int], *, sync: bool) -> None:
        self._opened("commit to")
        bounds = bounds_after(self._bounds, append, drop)
        is_safe = sync or self._tail.is_long
        self._transact(append, drop, bounds[0], sync=is_safe)
        self._bounds = bounds
        if is_safe:
            self._tail.clear()
        else:
            self._tail.add(append)

    def read(self, number: int) -> bytes:
        server = self._opened("read")
        if not self._bounds[0] <= number < self._bounds[1]:
            raise LookupError(f"read chunk {number} of journal {self.location}: it has chunks {range(*self._bounds)}")
        rows = self._page(server, number, number + 1, 1)
        if not rows:
            raise JournalDamaged(self.location, number, "is missing")
        fault = fault_in(rows[0])
        if fault is not None:
            raise JournalDamaged(self.location, number, fault)
        return rows[0].body

    def footprint(self, chunk_bytes: int) -> int:
        return _ROW_BYTES + -(-chunk_bytes // _TOAST_PIECE_BYTES) * _TOAST_BYTES

    def confirm(self) -> None:
        self._check_epoch(self._opened("look at"))

    def size_bytes(self) -> int:
        """Of the tables, which all journals of the database share, without the server's write-ahead log."""
        return self._size(self._opened("measure"))

    def close(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        if server.is_usable:
            try:
                if self._tail:
                    # An empty change under synchronous_commit=on makes every commit before it safe, too.
                    begin = self._drop_statement(self._bounds[0], self._epoch)
                    server.run(Statement("SET synchronous_commit = on"), begin)
                    self._tail.clear()
                # The server would do it, too, but only once it has noticed that the connection is closed.
                server.run(Statement(tables.UNLOCK, (tables.advisory_key(self._name),)))
            except JournalError as error:
                logger.warning("closing journal %s, which was lost: %s", self.location, error)
        server.close()

    @contextmanager
    def survey(self) -> Iterator[Survey]:
        """Look without becoming the writer; see `check`."""
        with closing(_driver()(self._dsn, self.location, f"blockyard check {self._name}")) as server:
            server.run(Statement("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            (found,) = server.run(Statement(tables.ARE_THERE))
            (head,) = server.run(Statement(tables.HEAD, (self._name,))) if found.rows else (found,)
            if not head.rows:
                raise JournalUnavailable(f"read journal {self.location}: there is none of that name in that database")
            version, epoch, first = head.numbers()
            faults = () if version == FORMAT else (f"it has version {version}, this Blockyard reads {FORMAT}",)
            rows = self._rows(server, 0, tables.NO_BOUND)
            yield Survey(self.location, epoch, first, faults, self._size(server), rows)

    def _create_tables(self, server: Server) -> None:
        (found,) = server.run(Statement(tables.ARE_THERE))
        if not found.rows:
            server.run(*map(Statement, tables.CREATE))

    def _take_lock(self, server: Server) -> None:
        key = tables.advisory_key(self._name)
        (locked,) = server.run(Statement(tables.TRY_LOCK, (key,)))
        if locked.rows:
            return
        self._check_epoch(server)
        (holder,) = server.run(Statement(tables.LOCK_HOLDER, (key,)))
        pid, program, address = map(bytes.decode, holder.rows[0]) if holder.rows else ("?", "a session that ended", "?")
        raise JournalInUse(
            f"open journal {self.location}: it is held by server process {pid} for {program!r} from {address}. Stop "
            "that interchange, or use another name"
        )

    def _check_epoch(self, server: Server) -> None:
        """Raise Fenced when this object was the writer and another has been since; who has never been one is not."""
        (head,) = server.run(Statement(tables.HEAD, (self._name,)))
        if self._epoch and head.rows and head.numbers()[1] != self._epoch:
            raise Fenced(
                f"journal {self.location}: epoch {self._epoch} is over, another interchange has begun epoch "
                f"{head.numbers()[1]}. Stop this one"
            )

    def _look(self, server: Server) -> tuple[int, tuple[int, int]]:
        """Epoch and bounds as they are; makes the journal when there is none of that name."""
        _, head, extent = server.run(
            Statement(tables.REGISTER, (self._name, FORMAT)),
            Statement(tables.HEAD, (self._name,)),
            Statement(tables.EXTENT, (self._name,)),
        )
        version, epoch, first = head.numbers()
        if version != FORMAT:
            raise JournalVersion(
                f"open journal {self.location}: it has version {version}, which this Blockyard reads as {FORMAT}. Use "
                "the Blockyard that wrote it, or drain with that one and start a new journal"
            )
        lowest, highest, count = extent.numbers()
        if count and (lowest != first or highest - lowest + 1 != count):
            raise JournalDamaged(
                self.location, first, f"{count} chunks from {lowest} to {highest} found, they should begin at {first}"
            )
        return epoch, (first, highest + 1 if count else first)

    def _begin_epoch(self, server: Server, past: int, found: tuple[int, int]) -> None:
        """Take the next epoch and write again what the server forgot, in one transaction that is safe on disk.

        In one, because the two must not come apart: after a new epoch without the rest, this object would look to
        itself like another writer.
        """
        epoch, bounds = past + 1, found
        repairs: list[Statement] = []
        if self._tail and past != self._epoch:
            logger.warning("journal %s had another writer since; what it may have forgotten stays so", self.location)
        elif self._tail and (found[0] < self._bounds[0] or found[1] < self._bounds[1]):
            bounds = self._bounds
            repairs = self._repairs(found, epoch)
        begun, *_ = server.run(Statement(tables.BEGIN_EPOCH, (self._name, past)), *repairs)
        if not begun.touched:
            raise Fenced(f"open journal {self.location}: another process changed its epoch although it held no lock")
        self._epoch, self._bounds = epoch, bounds

    def _repairs(self, found: tuple[int, int], epoch: int) -> list[Statement]:
        (first, end), (found_first, found_end) = self._bounds, found
        forgotten = self._tail.since(found_end)
        logger.warning(
            "journal %s: the server forgot chunks %d to %d and dropping %d to %d; they are written again",
            self.location, found_end, end - 1, found_first, first - 1,
        )  # fmt: skip
        if len(forgotten) != end - found_end:
            raise JournalDamaged(self.location, found_end, "is missing, though the server had said it was on its disk")
        appended = [self._append_statement(epoch, number, body) for number, body in forgotten]
        return [*appended, self._drop_statement(first, epoch)]

    def _transact(self, append: Sequence[tuple[int, bytes]], drop: Sequence[int], first: int, *, sync: bool) -> None:
        server = self._opened("commit to")
        statements = []
        if sync is not self._is_sync:
            statements.append(Statement(f"SET synchronous_commit = {'on' if sync else 'off'}"))
        skipped = len(statements)
        statements += [self._append_statement(self._epoch, number, body) for number, body in append]
        if drop:
            statements.append(self._drop_statement(first, self._epoch))
        if len(statements) == skipped:
            return
        results = server.run(*statements)
        self._is_sync = sync
        expected = [1] * len(append) + ([len(drop)] if drop else [])
        counts = [result.touched for result in results[skipped:]]
        if counts != expected:
            raise self._refusal(counts, expected)

    def _refusal(self, counts: list[int], expected: list[int]) -> JournalError:
        if any(counts):
            return JournalDamaged(self.location, None, f"a commit changed {counts} rows, expected {expected}")
        return Fenced(
            f"commit to journal {self.location}: epoch {self._epoch} is over, another interchange is the writer now. "
            "Nothing was written; stop this one"
        )

    def _rows(self, server: Server, first: int, end: int) -> Iterator[Row]:
        """Page by page, so that commits may come in between; the pages as large as memory should hold at once."""
        limit = _FIRST_PAGE_ROWS
        while True:
            rows = self._page(server, first, end, limit)
            yield from rows
            if len(rows) < limit:
                return
            first = rows[-1].number + 1
            average = sum(row.size for row in rows) // len(rows) + 1
            limit = max(1, min(_MOST_PAGE_ROWS, _PAGE_BYTES // average))

    def _page(self, server: Server, first: int, end: int, limit: int) -> list[Row]:
        (found,) = server.run(Statement(tables.READ, (self._name, first, end, limit)))
        return [Row(bigint(number), bigint(size), bigint(crc), body) for number, size, crc, body in found.rows]

    def _append_statement(self, epoch: int, number: int, body: bytes) -> Statement:
        return Statement("", (self._name, epoch, number, len(body), checksum(number, body), body), "append")

    def _drop_statement(self, first: int, epoch: int) -> Statement:
        return Statement("", (self._name, epoch, first), "drop")

    def _opened(self, action: str) -> Server:
        if self._server is None or not self._server.is_usable:
            raise JournalUnavailable(f"{action} journal {self.location}: it is not open, or was lost. Open it again")
        return self._server

    def _size(self, server: Server) -> int:
        (found,) = server.run(Statement(tables.SIZE))
        (size_bytes,) = found.numbers()
        return size_bytes


def _driver() -> type[Server]:
    """The class that needs psycopg, loaded when the first PostgreSQL journal is used."""
    try:
        from blockyard_interchange.journal.postgres_server import Server
    except ImportError as error:
        raise ConfigError(
            f"journal: a PostgreSQL journal needs psycopg 3, which cannot be loaded ({error}). Run:\n"
            "    pip install 'blockyard[interchange]'"
        ) from error
    return Server
