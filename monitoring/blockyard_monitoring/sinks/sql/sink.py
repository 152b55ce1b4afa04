"""The sink itself: one connection, one transaction a batch, reconnects."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from blockyard.errors import ConfigError
from blockyard.radios import Arrival
from blockyard.wire.monitoring import AnyRecord, Tries, WorkerTasks, micros
from blockyard_monitoring.clocks import Clocks
from blockyard_monitoring.sinks.port import SinkUnavailable
from blockyard_monitoring.sinks.sql import partitions, postgres, schema, sqlite
from blockyard_monitoring.sinks.sql.expiry import Expiry
from blockyard_monitoring.sinks.sql.rows import Rows

_DIALECTS: Final = ("sqlite", "postgresql")
_AWAY: Final = ("08", "53", "55P03", "57", "25006", "40")
"""SQLSTATE classes that are not the rows' fault: connection, resources, lock, operator, read-only, rollback."""
_SHOWN: Final = 4000
_MOST_DAYS: Final = 36_500
_SWEEP_SECONDS: Final = 600.0
"""From the end of one sweep through what is old to the next."""
_STEP_SECONDS: Final = 0.05
"""Between two steps of a sweep: what comes meanwhile is written first."""

T = TypeVar("T")


class SqlSink:
    """History in a database. `url`: ``sqlite:////path/file.db`` or ``postgresql://…``, as SQLAlchemy writes them.

    `keep_days`: what ended longer ago goes, see `expiry`; 0 keeps everything.
    """

    must_not_miss = True

    def __init__(self, url: str, keep_days: float = 0.0) -> None:
        if not 0.0 <= keep_days <= _MOST_DAYS:
            raise ConfigError(
                f"sink 'sql': keep_days={keep_days!r}; days from 0 to {_MOST_DAYS:,}, 0 to keep everything"
            )
        self.expired: Counter[str] = Counter()
        """Rows that went, by table."""
        self._url = url_of(url)
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        self._keep_us = int(keep_days * partitions.DAY_US)
        self._expiry = Expiry()
        self._make_room_at = 0.0
        self._offset = time.time() - time.monotonic()
        self._clocks = Clocks()
        self._writer = postgres.Writer() if self._dialect == "postgresql" else sqlite.Writer()

    def start(self) -> None:
        """Connect, and bring the schema to what is known. Raises as `Sink.start`."""
        self._told(self._open)

    def write(self, batch: Sequence[Arrival]) -> None:
        """Write the rows of all packets in one transaction."""
        records = [record for arrival in batch for record in arrival.packet.records]
        for record in records:
            if isinstance(record, Tries | WorkerTasks):
                self._clocks.take(record)  # all of them, before it is asked
        self._told(lambda: self._store(records))

    def quarantine(self, arrival: Arrival, reason: str) -> None:
        """A row of table `quarantine`, with the packet in words."""
        packet = arrival.packet
        row = (
            packet.source, packet.number, arrival.radio, micros(time.time()), _plain(reason), _plain(repr(packet)),
        )  # fmt: skip
        self._told(lambda: self._put_aside({"quarantine": {row[:2]: row}}))

    def tend(self) -> float:
        """Let a little of what is old go; returns seconds until it wants to be called again."""
        if not self._keep_us:
            return _SWEEP_SECONDS
        if self._dialect == "postgresql" and time.monotonic() >= self._make_room_at:
            self._told(self._look_ahead)
        try:
            gone = self._told(self._expire)
        except BaseException:
            self._expiry.again()
            raise
        if gone is None:
            return _SWEEP_SECONDS
        self.expired.update(gone)
        return _STEP_SECONDS

    def close(self) -> None:
        """Disconnect."""
        self._drop()
        if self._engine is not None:
            self._engine.dispose()

    @property
    def _dialect(self) -> str:
        return self._url.get_backend_name()

    def _open(self) -> Connection:
        if self._connection is None:
            if self._engine is None:
                self._engine = create_engine(self._url, pool_size=1, max_overflow=0)
            connection = self._engine.connect()
            try:
                if self._dialect == "sqlite":
                    sqlite.prepare(connection)
                schema.upgrade(connection)
                if self._dialect == "postgresql":
                    with connection.begin():
                        self._make_room(connection)
            except BaseException:
                connection.invalidate()
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _store(self, records: Sequence[AnyRecord]) -> None:
        with self._connected() as connection:
            self._writer.write(connection, records, self._clocks)

    def _put_aside(self, rows: Rows) -> None:
        with self._connected() as connection:
            self._writer.write_rows(connection, rows)

    def _expire(self) -> "Counter[str] | None":
        with self._transaction() as connection:
            return self._expiry.step(connection, self._now_us() - self._keep_us)

    def _now_us(self) -> int:
        """By the clock as it was when this sink was made: one that somebody sets meanwhile makes nothing old."""
        return micros(time.monotonic() + self._offset)

    def _look_ahead(self) -> None:
        with self._transaction() as connection:
            self._make_room(connection)

    def _make_room(self, connection: Connection) -> None:
        """For rows of the next days, whose partitions go whole."""
        if self._keep_us:
            schema.be_alone(connection)
            partitions.make_ahead(connection, self._keep_us, self._now_us())
        self._make_room_at = time.monotonic() + _SWEEP_SECONDS

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The connection, which is given up when something fails."""
        connection = self._open()
        try:
            yield connection
        except BaseException:
            self._drop()
            raise

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """On the connection."""
        with self._connected() as connection, connection.begin():
            yield connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _told(self, act: Callable[[], T]) -> T:
        """Do it; an error that another try may not meet is told as SinkUnavailable."""
        try:
            return act()
        except DBAPIError as error:
            if _is_away(error):
                raise SinkUnavailable(f"database {self._url.render_as_string()}: {error.orig}") from error
            raise
        except OSError as error:
            raise SinkUnavailable(f"database {self._url.render_as_string()}: {error}") from error
        except Exception as error:
            if _is_drivers(error) and _is_away_state(error):
                raise SinkUnavailable(f"database {self._url.render_as_string()}: {error}") from error
            raise


def url_of(text: str) -> URL:
    """Read and check. Raises ConfigError, which shows no password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # the second of a port that is no number
        raise ConfigError("sink 'sql': url is no database URL, as 'sqlite:////path/file.db' is one") from error
    if url.get_backend_name() not in _DIALECTS:
        raise ConfigError(f"sink 'sql': url is for {url.get_backend_name()!r}; it may be sqlite or postgresql")
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    elif not url.database or not Path(url.database).is_absolute():
        raise ConfigError(f"sink 'sql': url {text!r}: give the file's whole path, as in sqlite:////path/file.db")
    try:
        url.get_dialect()
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(f"sink 'sql': {error}; pip install 'blockyard[monitoring]'") from error
    return url


def _is_away(error: DBAPIError) -> bool:
    """The database is away, busy, or out of room; not that a row is wrong."""
    if error.connection_invalidated:
        return True
    name = type(error.orig).__name__
    return name in ("OperationalError", "InterfaceError", "InternalError") or _is_away_state(error.orig)


def _is_drivers(error: BaseException) -> bool:
    """Whether psycopg raised it, past SQLAlchemy, as it does in COPY."""
    return type(error).__module__.partition(".")[0] == "psycopg"


def _is_away_state(error: object) -> bool:
    state = getattr(error, "sqlstate", "") or ""
    return state.startswith(_AWAY) or (not state and type(error).__name__ in ("OperationalError", "InterfaceError"))


def _plain(text: str) -> str:
    return text.replace("\0", "\\0")[:_SHOWN]


__all__ = ["SqlSink", "url_of"]
