"""Rows into SQLite: one statement prepared a table, many rows each, one transaction a batch."""

from sqlalchemy import Connection

from blockyard_monitoring.sinks.sql import statements, tables
from blockyard_monitoring.sinks.sql.rows import Rows

_INSERTS = {table.name: statements.insert(table) for table in tables.metadata.sorted_tables}


def prepare(connection: Connection) -> None:
    """Settings of a connection: readers and the writer do not wait for one another, and no commit for the disk."""
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=2000", "cache_size=-16384"):
        connection.exec_driver_sql(f"PRAGMA {setting}")
    connection.commit()


def write(connection: Connection, rows: Rows) -> None:
    """Write rows, inside the caller's transaction."""
    for name, found in rows.items():
        if found:
            connection.exec_driver_sql(_INSERTS[name], list(found.values()))
