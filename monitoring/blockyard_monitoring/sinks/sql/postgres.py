"""Rows into PostgreSQL: COPY straight into their tables, or, where some may be there, by a table of this connection's.

COPY knows no conflicts, and nearly never meets one: rows come again when a hub, or a database, was started again, and
tries that ran for long were told of while they ran. Rows that meet one pass a temporary table, and go from there in one
statement that knows what to do; it costs the server twice as much, and us the time until it is done.
"""

from collections.abc import Iterable, Sequence
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
        self.stage = f"{_STAGE}{table.name}"
        columns = statements.columns(table)
        self.to_table = _copy_into(table.name, columns)
        self.to_stage = _copy_into(self.stage, columns)
        self.move = statements.insert_from(table, self.stage)


_WAYS: Final = {table.name: _Way(table) for table in tables.metadata.sorted_tables}
_BY_LANE: Final = {
    lane: _copy_into(lane.table, ", ".join(f'"{name}"' for name in lane.columns)) for lane in lines.LANES
}


class Writer:
    """Writes records, inside the caller's transaction; remembers of which tables some rows were there lately."""

    def __init__(self) -> None:
        self._pause: dict[str, int] = {}
        """By table: how many batches went by the stage after the last conflict; doubles with each."""
        self._staged: dict[str, int] = {}
        """How many of these are left."""

    def write(self, connection: Connection, records: Sequence[AnyRecord], clocks: Clocks) -> None:
        """Write the rows of records; most are never made."""
        quick, left = lines.sorted_out(records, clocks)
        for lane, told in quick.items():
            others: list[AnyRecord] = []
            texts = lines.of_lane(lane, told, others)
            if self._staged.get(lane.table, 0) or not self._is_new(connection, lane.table, _BY_LANE[lane], texts):
                others = [one.record for one in told]
            left += others
        self.write_rows(connection, rows_of(left, clocks))

    def write_rows(self, connection: Connection, rows: Rows) -> None:
        """Write rows."""
        for name, found in rows.items():
            if not found:
                continue
            way, own = _WAYS[name], list(found.values())
            if self._staged.get(name, 0):
                self._staged[name] -= 1
            elif self._is_new(connection, name, way.to_table, lines.of_rows(own)):
                continue
            _copy(connection, way.to_stage, lines.of_rows(own))
            connection.exec_driver_sql(way.move)

    def _is_new(self, connection: Connection, table: str, statement: str, texts: Iterable[bytes]) -> bool:
        """Write lines of rows that are not there; False, and nothing is written, when one of them is."""
        point = connection.begin_nested()
        try:
            _copy(connection, statement, texts)
        except Exception as error:
            if getattr(error, "sqlstate", "") != _CONFLICT:
                raise
            point.rollback()
            self._pause[table] = self._staged[table] = min(2 * self._pause.get(table, 1), _MOST_STAGED)
            return False
        point.commit()
        self._pause.pop(table, None)
        return True


def prepare(connection: Connection) -> None:
    """Make the temporary tables; rows in them go with each commit. What is confirmed is on the server's disk."""
    for name, one in _WAYS.items():
        connection.exec_driver_sql(
            f'CREATE TEMPORARY TABLE IF NOT EXISTS "{one.stage}" (LIKE "{name}") ON COMMIT DELETE ROWS'
        )
    connection.commit()


def _copy(connection: Connection, statement: str, texts: Iterable[bytes]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for text in texts:
            copy.write(text)
