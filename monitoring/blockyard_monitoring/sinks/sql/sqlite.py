"""Rows into SQLite: one statement prepared a table, many rows each, one transaction a batch."""

from collections.abc import Sequence

from sqlalchemy import Connection

from blockyard.wire.monitoring import AnyRecord
from blockyard_monitoring.clocks import Clocks
from blockyard_monitoring.sinks.sql import statements, tables
from blockyard_monitoring.sinks.sql.rows import Rows, rows_of

_INSERTS = {table.name: statements.insert(table) for table in tables.metadata.sorted_tables}


def prepare(connection: Connection) -> None:
    """Settings of a connection: readers and the writer do not wait for one another, and no commit for the disk."""
    for setting in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=2000", "cache_size=-16384"):
        connection.exec_driver_sql(f"PRAGMA {setting}")
    connection.commit()


class Writer:
    """Writes records, a transaction a batch."""

    def write(self, connection: Connection, records: Sequence[AnyRecord], clocks: Clocks) -> None:
        """Write the rows of records."""
        self.write_rows(connection, rows_of(records, clocks))

    def write_rows(self, connection: Connection, rows: Rows) -> None:
        """Write rows."""
        with connection.begin():
            for name, found in rows.items():
                if found:
                    connection.exec_driver_sql(_INSERTS[name], list(found.values()))
