"""The statements that write rows, made from the tables: the same row twice is one row.

Usually the later word stands. A try or a managed task that ended does not go on again, whatever comes late; and of a
session, beginning and end come one by one. How far a managed task is comes without the rest of it, and may come first.
"""

from typing import Final

from sqlalchemy import Table

_WHERE: Final = {
    "tries": "excluded.state >= 0 OR tries.state < 0",
    "configs": "excluded.ended_us > 0 OR configs.ended_us = 0",
}
_MERGED: Final = {
    "sessions": {
        "began_us": "CASE WHEN excluded.began_us > 0 THEN excluded.began_us ELSE sessions.began_us END",
        "ended_us": "CASE WHEN excluded.ended_us > 0 THEN excluded.ended_us ELSE sessions.ended_us END",
    },
    "configs": {
        "status": "CASE WHEN excluded.record <> '' THEN excluded.status ELSE configs.status END",
        "message": "CASE WHEN excluded.message <> '' OR excluded.ended_us > 0 "
        "THEN excluded.message ELSE configs.message END",
        "record": "CASE WHEN excluded.record <> '' THEN excluded.record ELSE configs.record END",
    },
}


def columns(table: Table) -> str:
    """Its columns, in the order of a row."""
    return ", ".join(f'"{column.name}"' for column in table.columns)


def on_conflict(table: Table) -> str:
    """What becomes of a row whose key is there."""
    key = ", ".join(f'"{column.name}"' for column in table.primary_key.columns)
    others = [column.name for column in table.columns if not column.primary_key]
    if not others:
        return f"ON CONFLICT ({key}) DO NOTHING"
    merged = _MERGED.get(table.name, {})
    changes = ", ".join(f'"{name}" = {merged.get(name, f"excluded.{chr(34)}{name}{chr(34)}")}' for name in others)
    where = f" WHERE {_WHERE[table.name]}" if table.name in _WHERE else ""
    return f"ON CONFLICT ({key}) DO UPDATE SET {changes}{where}"


def insert(table: Table) -> str:
    """For one row at a time, with ``?`` for each column."""
    marks = ", ".join("?" for _ in table.columns)
    return f'INSERT INTO "{table.name}" ({columns(table)}) VALUES ({marks}) {on_conflict(table)}'


def insert_from(table: Table, source: str) -> str:
    """For all rows of another table with the same columns."""
    return f'INSERT INTO "{table.name}" ({columns(table)}) SELECT {columns(table)} FROM "{source}" {on_conflict(table)}'
