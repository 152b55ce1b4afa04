"""Rows into PostgreSQL: COPY into a table of this connection's own, and from there in one statement each.

COPY knows no conflicts, so rows pass a temporary table; the server moves them faster than it reads them.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Connection, SmallInteger, Table

from blockyard_monitoring.sinks.sql import statements, tables
from blockyard_monitoring.sinks.sql.rows import Row, Rows

_STAGE: Final = "stage_"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\\\0"})


class _Copy:
    """How rows of one table are written."""

    def __init__(self, table: Table) -> None:
        self.stage = f"{_STAGE}{table.name}"
        self.copy = f'COPY "{self.stage}" ({statements.columns(table)}) FROM STDIN'
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


def prepare(connection: Connection) -> None:
    """Make the temporary tables; rows in them go with each commit. What is confirmed is on the server's disk."""
    for name, one in _COPIES.items():
        connection.exec_driver_sql(
            f'CREATE TEMPORARY TABLE IF NOT EXISTS "{one.stage}" (LIKE "{name}") ON COMMIT DELETE ROWS'
        )
    connection.commit()


def write(connection: Connection, rows: Rows) -> None:
    """Write rows, inside the caller's transaction."""
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        for name, found in rows.items():
            if not found:
                continue
            one = _COPIES[name]
            with cursor.copy(one.copy) as copy:
                copy.write(one.text(list(found.values())))
            cursor.execute(one.move)
