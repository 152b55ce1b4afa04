"""Rows into PostgreSQL: COPY straight into their tables, or, where some may be there, by a table of this connection's.

COPY knows no conflicts, and nearly never meets one: rows come again when a hub, or a database, was started again, and
tries that ran for long were told of while they ran. Rows that meet one pass a temporary table, and go from there in one
statement that knows what to do; it costs the server twice as much, and us the time until it is done. These tables are
made when they are needed: a commit that touched one of them empties all that there are.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table

from blockyard.wire.monitoring import AnyRecord
from blockyard_monitoring.clocks import Clocks
from blockyard_monitoring.sinks.sql import lines, statements, tables
from blockyard_monitoring.sinks.sql.rows import Rows, rows_of

_STAGE: Final = "stage_"
_MOST_STAGED: Final = 64
"""Batches of one table that go by the stage, after conflicts, until it is tried without."""
_CONFLICT: Final = "23505"
"""SQLSTATE `unique_violation`."""


def _copy_into(table: str, columns: str) -> str:
    return f"COPY \"{table}\" ({columns}) FROM STDIN (FORMAT csv, NULL '{lines.NULL}', ENCODING 'UTF8')"


class _Way:
    """How rows of one table are written."""

    def __init__(self, table: Table) -> None:
        stage = f"{_STAGE}{table.name}"
        columns = statements.columns(table)
        self.to_table = _copy_into(table.name, columns)
        self.make_stage = f'CREATE TEMPORARY TABLE IF NOT EXISTS "{stage}" (LIKE "{table.name}") ON COMMIT DELETE ROWS'
        self.to_stage = _copy_into(stage, columns)
        self.move = statements.insert_from(table, stage)


_WAYS: Final = {table.name: _Way(table) for table in tables.metadata.sorted_tables}
_BY_LANE: Final = {
    lane: _copy_into(lane.table, ", ".join(f'"{name}"' for name in lane.columns)) for lane in lines.LANES
}


class _Met(Exception):
    """A row of this table is there."""

    def __init__(self, table: str) -> None:
        super().__init__(table)
        self.table = table


class Writer:
    """Writes records, a transaction a batch; remembers of which tables some rows were there lately.

    A batch that meets a row is rolled back and begun anew, with that table's rows by the stage: it is rare, and to be
    ready to undo a single table would cost every batch two statements for each.
    """

    def __init__(self) -> None:
        self._pause: dict[str, int] = {}
        """By table: how many batches went by the stage after the last conflict; doubles with each."""
        self._staged: dict[str, int] = {}
        """How many of these are left."""

    def write(self, connection: Connection, records: Sequence[AnyRecord], clocks: Clocks) -> None:
        """Write the rows of records; most are never made."""

        def once() -> set[str]:
            quick, left = lines.sorted_out(records, clocks)
            written: set[str] = set()
            for lane, told in quick.items():
                if lane.table in self._staged:
                    left += [one.record for one in told]
                else:
                    written.add(lane.table)
                    _copy(connection, lane.table, _BY_LANE[lane], lines.of_lane(lane, told, left))
            return written | self._write_rows(connection, rows_of(left, clocks))

        self._until_through(connection, once)

    def write_rows(self, connection: Connection, rows: Rows) -> None:
        """Write rows."""
        self._until_through(connection, lambda: self._write_rows(connection, rows))

    def _until_through(self, connection: Connection, once: Callable[[], set[str]]) -> None:
        """`once`: writes all, and says of which tables."""
        while (written := self._tried(connection, once)) is None:
            pass  # each time one more table is known to go by the stage
        for name in written:
            if name not in self._staged:
                self._pause.pop(name, None)
            elif self._staged[name] > 1:
                self._staged[name] -= 1
            else:
                del self._staged[name]

    def _tried(self, connection: Connection, once: Callable[[], set[str]]) -> set[str] | None:
        """None: a row was there, and nothing is written."""
        try:
            with connection.begin():
                return once()
        except _Met as met:
            self._pause[met.table] = self._staged[met.table] = min(2 * self._pause.get(met.table, 1), _MOST_STAGED)
            return None

    def _write_rows(self, connection: Connection, rows: Rows) -> set[str]:
        own = {name: list(found.values()) for name, found in rows.items() if found}
        for name, found in own.items():
            way, texts = _WAYS[name], lines.of_rows(found)
            if name in self._staged:
                connection.exec_driver_sql(way.make_stage)
                _copy(connection, name, way.to_stage, texts)
                connection.exec_driver_sql(way.move)
            else:
                _copy(connection, name, way.to_table, texts)
        return set(own)


def _copy(connection: Connection, table: str, statement: str, texts: Iterable[bytes]) -> None:
    """Write lines of rows. Raises _Met when one of them is in the table."""
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for text in texts:
                copy.write(text)
    except Exception as error:
        if getattr(error, "sqlstate", "") == _CONFLICT:
            raise _Met(table) from error
        raise
