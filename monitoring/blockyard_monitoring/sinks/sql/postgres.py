"""Rows into PostgreSQL: COPY straight into their tables, or, where some may be there, by a table of this connection's.

COPY knows no conflicts, and nearly never meets one: rows come again when a hub, or a database, was started again, and
tries that ran for long were told of while they ran. Rows that meet one pass a temporary table, and go from there in one
statement that knows what to do; it costs the server twice as much, and us the time until it is done.
"""

from itertools import islice
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, SmallInteger, Table

from blockyard_monitoring.sinks.sql import statements, tables
from blockyard_monitoring.sinks.sql.rows import Row, Rows

_STAGE: Final = "stage_"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\\\0"})
_CHUNK: Final = 1_000
"""Rows that are made text at a time: the server takes in those before meanwhile."""
_MOST_STAGED: Final = 64
"""Batches of one table that go by the stage, after conflicts, until it is tried without."""
_CONFLICT: Final = "23505"
"""SQLSTATE `unique_violation`."""


class _Copy:
    """How rows of one table are written."""

    def __init__(self, table: Table) -> None:
        self.stage = f"{_STAGE}{table.name}"
        columns = statements.columns(table)
        self.to_table = f'COPY "{table.name}" ({columns}) FROM STDIN'
        self.to_stage = f'COPY "{self.stage}" ({columns}) FROM STDIN'
        self.move = statements.insert_from(table, self.stage)
        kinds = [isinstance(column.type, BigInteger | SmallInteger) for column in table.columns]
        self._line = "\t".join("%d" if is_number else "%s" for is_number in kinds) + "\n"
        self._may_be_null = any(column.nullable for column in table.columns)

    def text(self, rows: list[Row]) -> str:
        """Rows in COPY's text format."""
        line = self._line
        if not self._may_be_null:
            text = "".join([line % row for row in rows])
            # Looked at as a whole, because there is nearly never anything to escape.
            is_plain = text.count("\t") == len(rows) * line.count("\t") and text.count("\n") == len(rows)
            if is_plain and not any(one in text for one in "\\\r\0"):
                return text
        return "".join([line % _escaped(row) for row in rows])


def _escaped(row: Row) -> Row:
    return tuple(_value(value) for value in row)


def _value(value: Any) -> Any:
    if value is None:
        return "\\N"
    return value.translate(_ESCAPES) if isinstance(value, str) else value


_COPIES: Final = {table.name: _Copy(table) for table in tables.metadata.sorted_tables}


class Writer:
    """Writes rows; remembers of which tables some were there lately."""

    def __init__(self) -> None:
        self._pause: dict[str, int] = {}
        """By table: how many batches went by the stage after the last conflict; doubles with each."""
        self._staged: dict[str, int] = {}
        """How many of these are left."""

    def write(self, connection: Connection, rows: Rows) -> None:
        """Write rows, inside the caller's transaction."""
        for name, found in rows.items():
            if not found:
                continue
            if self._staged.get(name, 0):
                self._staged[name] -= 1
                _write_staged(connection, _COPIES[name], found)
            elif _write_new(connection, _COPIES[name], found):
                self._pause.pop(name, None)
            else:
                self._pause[name] = min(2 * self._pause.get(name, 1), _MOST_STAGED)
                self._staged[name] = self._pause[name]
                _write_staged(connection, _COPIES[name], found)


def prepare(connection: Connection) -> None:
    """Make the temporary tables; rows in them go with each commit. What is confirmed is on the server's disk."""
    for name, one in _COPIES.items():
        connection.exec_driver_sql(
            f'CREATE TEMPORARY TABLE IF NOT EXISTS "{one.stage}" (LIKE "{name}") ON COMMIT DELETE ROWS'
        )
    connection.commit()


def _write_new(connection: Connection, one: _Copy, found: dict[Any, Row]) -> bool:
    """Write rows that are not there; False, and nothing is written, when one of them is."""
    point = connection.begin_nested()
    try:
        _copy(connection, one.to_table, one, found)
    except Exception as error:
        if getattr(error, "sqlstate", "") != _CONFLICT:
            raise
        point.rollback()
        return False
    point.commit()
    return True


def _write_staged(connection: Connection, one: _Copy, found: dict[Any, Row]) -> None:
    _copy(connection, one.to_stage, one, found)
    connection.exec_driver_sql(one.move)


def _copy(connection: Connection, statement: str, one: _Copy, found: dict[Any, Row]) -> None:
    driver: Any = connection.connection.driver_connection
    left = iter(found.values())
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        while rows := list(islice(left, _CHUNK)):
            copy.write(one.text(rows))
