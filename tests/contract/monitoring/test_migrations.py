"""Data of every schema that was in use goes up to the newest and down again, whole, on both databases.

`schemas` has what a hub of each schema wrote, by table.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from blockyard_monitoring.sinks.sql import SqlSink, schema
from tests.contract.monitoring.databases import Database
from tests.unit.monitoring.messages import an_arrival, some_tasks, some_tries

FOLDER = Path(__file__).parent / "schemas"
OLDER = sorted(path.stem for path in FOLDER.glob("*.json"))

Data = dict[str, dict[str, list[Any]]]


def data_of(revision: str) -> Data:
    """Columns and rows by table."""
    found: Data = json.loads((FOLDER / f"{revision}.json").read_text())
    return found


def fill(connection: Connection, data: Data) -> None:
    for table, found in data.items():
        names = ", ".join(f'"{name}"' for name in found["columns"])
        marks = ", ".join(f":{name}" for name in found["columns"])
        for row in found["rows"]:
            words = dict(zip(found["columns"], row, strict=True))
            connection.execute(text(f'INSERT INTO "{table}" ({names}) VALUES ({marks})'), words)
    connection.commit()


def read(connection: Connection, data: Data) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the same tables and columns, in order."""
    found = {}
    for table, one in data.items():
        names = ", ".join(f'"{name}"' for name in one["columns"])
        found[table] = sorted(map(tuple, connection.execute(text(f'SELECT {names} FROM "{table}"'))), key=repr)
    connection.rollback()
    return found


def asked(connection: Connection) -> dict[str, int]:
    """How many rows every view tells."""
    views = inspect(connection).get_view_names()
    found = {view: len(connection.execute(text(f'SELECT * FROM "{view}"')).fetchall()) for view in views}
    connection.rollback()
    return found


@pytest.mark.parametrize("revision", OLDER)
def test_data_of_every_schema_goes_up_and_down_again(database: Database, revision: str) -> None:
    data = data_of(revision)
    wanted = {table: sorted(map(tuple, one["rows"]), key=repr) for table, one in data.items()}
    engine = create_engine(database.url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        schema.upgrade(connection, revision)
        fill(connection, data)
        told = asked(connection)
        assert min(told.values()) > 0, told

        sink = SqlSink(database.url)  # as a newer hub does when it starts
        sink.start()
        assert schema.revision(connection) == schema.HEAD
        connection.rollback()
        assert read(connection, data) == wanted
        assert {view: count for view, count in asked(connection).items() if view in told} == told
        sink.write([an_arrival(some_tasks(9 << 32), some_tries(9 << 32))])
        assert database.ask(f"SELECT state FROM tries WHERE task = {9 << 32}") == [(0,)]
        sink.close()
        database.do(f"DELETE FROM tries WHERE task = {9 << 32}")
        database.do(f"DELETE FROM submissions WHERE first = {9 << 32}")

        schema.downgrade(connection, revision)
        assert schema.revision(connection) == revision
        connection.rollback()
        assert read(connection, data) == wanted
        assert asked(connection) == told
    engine.dispose()


def test_there_is_data_of_every_schema_before_the_newest() -> None:
    config = Config()
    config.set_main_option("script_location", "blockyard_monitoring:sinks/sql/migrations")
    every = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
    assert every - {schema.HEAD} == set(OLDER)
