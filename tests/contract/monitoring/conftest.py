"""Databases for the sql sink: a SQLite file, and a database of its own in a real PostgreSQL."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blockyard_monitoring.sinks.sql import SqlSink
from tests.contract.monitoring.databases import Database, PostgresDatabase, SqliteDatabase
from tests.fixtures.postgres import Postgres, postgres

__all__ = ["postgres"]

_numbers = itertools.count()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "history.db")
    found: PostgresDatabase = request.getfixturevalue("postgresql")
    return found


@pytest.fixture
def postgresql(postgres: Postgres) -> PostgresDatabase:
    """An empty database of PostgreSQL."""
    name = f"history_{next(_numbers)}"
    postgres.run(f"CREATE DATABASE {name}")
    return PostgresDatabase(postgres.url.rpartition("/")[0] + f"/{name}")


@pytest.fixture
def opened(database: Database) -> Iterator[Callable[[], SqlSink]]:
    """Makes sinks on the database that are closed in the end."""
    sinks: list[SqlSink] = []

    def open_one() -> SqlSink:
        sinks.append(SqlSink(database.url))
        sinks[-1].start()
        return sinks[-1]

    yield open_one
    for sink in sinks:
        sink.close()
