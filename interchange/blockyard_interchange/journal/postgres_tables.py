"""The tables of a PostgreSQL journal and every statement on them, as text. No connection here.

Many journals share the tables, told apart by name. They are found by the session's `search_path`; set it in the URL
with ``?options=-csearch_path=SCHEMA``. Bodies are stored uncompressed outside of the row: compressing costs more than
writing.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import NamedTuple

Value = int | str | bytes
_BIGINT = struct.Struct(">q")


class Statement(NamedTuple):
    """SQL with its values; with a name, a statement that was prepared under it, and `sql` is not used."""

    sql: str
    values: tuple[Value, ...] = ()
    name: str = ""


class Result(NamedTuple):
    """What a statement answered: rows of raw binary columns, and the number of rows it touched."""

    rows: list[tuple[bytes, ...]]
    touched: int

    def numbers(self) -> tuple[int, ...]:
        """The columns of its only row, all `bigint`."""
        return tuple(map(bigint, self.rows[0]))


CREATION_LOCK = int.from_bytes(b"blockyrd", "big")

ARE_THERE = "SELECT 1 WHERE to_regclass('blockyard_journal') IS NOT NULL AND to_regclass('blockyard_chunk') IS NOT NULL"
CREATE = (
    f"SELECT pg_advisory_xact_lock({CREATION_LOCK})",
    """CREATE TABLE IF NOT EXISTS blockyard_journal (
        name text PRIMARY KEY, version bigint NOT NULL, epoch bigint NOT NULL, first bigint NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS blockyard_chunk (
        journal text NOT NULL, number bigint NOT NULL, size bigint NOT NULL, crc bigint NOT NULL, body bytea NOT NULL,
        PRIMARY KEY (journal, number))
        WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.05,
              toast.autovacuum_vacuum_threshold = 5000, toast.autovacuum_vacuum_scale_factor = 0.05)""",
    "ALTER TABLE blockyard_chunk ALTER COLUMN body SET STORAGE EXTERNAL",
)

TRY_LOCK = "SELECT 1 WHERE pg_try_advisory_lock($1::bigint)"
UNLOCK = "SELECT 1 WHERE pg_advisory_unlock($1::bigint)"
LOCK_HOLDER = """
    SELECT a.pid::text, a.application_name, coalesce(a.client_addr::text, 'this machine')
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32 | l.objid::bigint) = $1::bigint"""

REGISTER = """
    INSERT INTO blockyard_journal (name, version, epoch, first) VALUES ($1::text, $2::bigint, 0, 1)
    ON CONFLICT (name) DO NOTHING"""
BEGIN_EPOCH = "UPDATE blockyard_journal SET epoch = epoch + 1 WHERE name = $1::text AND epoch = $2::bigint"
HEAD = "SELECT version, epoch, first FROM blockyard_journal WHERE name = $1::text"
EXTENT = """
    SELECT coalesce(min(number), 0), coalesce(max(number), 0), count(*) FROM blockyard_chunk WHERE journal = $1::text"""

# Both compare the epoch under a lock on the journal's row, which the next writer's BEGIN_EPOCH has to wait for and
# which, having waited for that, sees the new epoch: so no commit of an old writer can follow it.
APPEND = """
    WITH fence AS (SELECT 1 FROM blockyard_journal WHERE name = $1::text AND epoch = $2::bigint FOR SHARE)
    INSERT INTO blockyard_chunk (journal, number, size, crc, body)
    SELECT $1::text, $3::bigint, $4::bigint, $5::bigint, $6::bytea FROM fence"""
DROP = """
    WITH fence AS (
        UPDATE blockyard_journal SET first = $3::bigint WHERE name = $1::text AND epoch = $2::bigint RETURNING 1)
    DELETE FROM blockyard_chunk WHERE journal = $1::text AND number < $3::bigint AND EXISTS (SELECT FROM fence)"""

READ = """
    SELECT number, size, crc, body FROM blockyard_chunk
    WHERE journal = $1::text AND number >= $2::bigint AND number < $3::bigint ORDER BY number LIMIT $4::bigint"""
NO_BOUND = 2**63 - 1
SIZE = """
    SELECT pg_total_relation_size('blockyard_chunk') + pg_total_relation_size('blockyard_journal')"""


def advisory_key(name: str) -> int:
    """The key of the writer's lock of the journal of that name, a signed 64-bit number."""
    digest = blake2b(b"blockyard-journal:" + name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def encoded_bigint(value: int) -> bytes:
    """A number as a binary `bigint`."""
    return _BIGINT.pack(value)


def bigint(column: bytes) -> int:
    """The number in a binary `bigint`."""
    (value,) = _BIGINT.unpack(column)
    return int(value)
