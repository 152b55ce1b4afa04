"""Opens a history to read it: read only, with a limit of time for each question, and each error with its cause."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from blockyard.errors import BlockyardError, ConfigError
from blockyard_monitoring.sinks.sql import schema
from blockyard_monitoring.sinks.sql.sink import url_of

QUESTION_SECONDS: Final = 15.0
"""A question that takes longer is ended."""
_STEPS: Final = 20_000
"""Of SQLite's virtual machine between two looks at the clock."""


class HistoryAway(BlockyardError):
    """The history cannot be read now: its database is away, holds none yet, or took too long, as the message says."""


class History:
    """One database. Any thread may ask; each question has a connection of its own for as long as it takes."""

    def __init__(self, url: str, *, connections: int = 4) -> None:
        """`url` as for the sql sink. Raises ConfigError; whether it can be read shows when it is asked."""
        self._url = url_of(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": connections, "max_overflow": 0, "pool_pre_ping": True}
        if self._is_sqlite:
            self._engine = create_engine(_read_only(self._url), connect_args={"check_same_thread": False}, **options)
        else:
            limit = f"-c default_transaction_read_only=on -c statement_timeout={int(QUESTION_SECONDS * 1000)}"
            self._engine = create_engine(self._url, connect_args={"options": limit, "connect_timeout": 5}, **options)
        if self._is_sqlite:
            event.listen(self._engine, "connect", _limit)
        self._is_known = False
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return self._url.render_as_string()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """For a few questions that belong together. Raises HistoryAway."""
        try:
            with self._engine.connect() as connection:
                connection.info["until"] = time.monotonic() + QUESTION_SECONDS
                self._check(connection)
                yield connection
        except DBAPIError as error:
            raise HistoryAway(f"history {self}: {_words(error)}") from error
        except SQLAlchemyError as error:
            raise HistoryAway(f"history {self}: {error}") from error

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _check(self, connection: Connection) -> None:
        """Whether a hub has made the tables. Raises HistoryAway, or ConfigError for those of a newer Blockyard."""
        with self._lock:
            if self._is_known:
                return
            found = schema.revision(connection)
            if not found:
                raise HistoryAway(f"history {self}: there is none yet; a hub makes it when it starts")
            if found > schema.HEAD:
                raise ConfigError(
                    f"history {self}: its schema is {found}, the newest that this Blockyard knows is {schema.HEAD}"
                )
            self._is_known = True


def _limit(connection: Any, record: Any) -> None:
    """Look at the clock while SQLite works: what takes too long is interrupted."""

    def is_late() -> bool:
        return bool(time.monotonic() > record.info.get("until", float("inf")))

    connection.set_progress_handler(is_late, _STEPS)
    connection.execute("PRAGMA busy_timeout=2000")


def _read_only(url: URL) -> URL:
    path = Path(str(url.database))
    return url.set(database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})


def _words(error: DBAPIError) -> str:
    text = str(error.orig).strip()
    if "interrupted" in text or "statement timeout" in text:
        return f"the question took longer than {QUESTION_SECONDS:g} s; ask about one run, or about less time"
    if "unable to open" in text:
        return "there is no such file, or it cannot be read"
    return text.splitlines()[0] if text else type(error.orig).__name__
