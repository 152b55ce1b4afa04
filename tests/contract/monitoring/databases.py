"""How tests look into the databases that the sql sink wrote: by drivers of their own."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg


class Database(Protocol):
    """One database."""

    url: str

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        ...

    def do(self, sql: str) -> None:
        """Run a statement."""
        ...


class SqliteDatabase:
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()

    def do(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(sql)


class PostgresDatabase:
    """On a server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql).fetchall()

    def do(self, sql: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(sql)
