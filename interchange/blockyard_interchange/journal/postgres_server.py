"""The connection to PostgreSQL: one round trip for many statements, with a deadline, and errors in our words.

Below psycopg's cursors, on its libpq wrapper (`psycopg.pq`): a commit of the journal is on the path of every task, and
a server that stops answering must not stop the interchange for longer than a known time. Statements and their results
are binary; the tables have only `bigint`, `text` and `bytea`. This is the only importer of psycopg.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from blockyard.errors import ConfigError
from blockyard_interchange.journal.errors import (
    Fenced,
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalUnavailable,
)
from blockyard_interchange.journal.postgres_tables import Result, Statement, Value, encoded_bigint

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

ANSWER_SECONDS = 30.0
"""How long one round trip may take. Far above any commit; below it a slow disk would look like a lost server."""

_CONNECT_SECONDS = 5
_OK = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)

# Both ends notice within about 11 s that the other's machine is gone. https://www.postgresql.org/docs/current/
# libpq-connect.html#LIBPQ-KEEPALIVES and runtime-config-connection.html; ignored on Unix sockets.
_CONNECTION_DEFAULTS: dict[str, Any] = {
    "connect_timeout": _CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}
_SESSION = (
    "SET tcp_keepalives_idle = 5",
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = '10s'",
    "SET client_min_messages = warning",
    f"SET statement_timeout = '{int(ANSWER_SECONDS)}s'",
    "SET synchronous_commit = on",
)


# Without the driver's words, and never with its error as the cause: it quotes the URL, and that may hold a password.
_BAD_URL = (
    "the PostgreSQL URL cannot be read; expected postgresql://user@host:port/database, with '%' escapes for special "
    "characters. The password may come from PGPASSWORD"
)


class Server:
    """One session. Every call raises our errors; after `JournalUnavailable` the session is closed."""

    def __init__(self, dsn: str, location: str, application_name: str) -> None:
        self._location = location
        settings: dict[str, Any] = {
            **_CONNECTION_DEFAULTS,
            "application_name": application_name,
            **conninfo_to_dict(dsn),
        }
        try:
            self._connection = psycopg.Connection.connect(make_conninfo(**settings), autocommit=True)
        except psycopg.OperationalError as error:
            raise self._lost(f"cannot connect: {error}") from error
        except psycopg.ProgrammingError:
            raise ConfigError(f"journal {location}: {_BAD_URL}") from None
        self._pg = self._connection.pgconn
        self.run(*map(Statement, _SESSION))

    @staticmethod
    def whereabouts(dsn: str, name: str) -> str:
        """Server, database and journal for people, without the password. `ConfigError` when the DSN is not one."""
        try:
            parts = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            raise ConfigError(f"journal: {_BAD_URL}") from None
        # What the DSN leaves out comes from the environment, as in a pod: PGHOST and its kind.
        usual = {one.keyword.decode(): (one.val or b"").decode() for one in pq.Conninfo.get_defaults()}
        host, port, database = (parts.get(word) or usual.get(word, "") for word in ("host", "port", "dbname"))
        return f"postgresql://{host or 'local socket'}:{port}/{database} ({name!r})"

    @property
    def is_usable(self) -> bool:
        """Whether the session is still open, as far as is known here."""
        return self._pg.status == pq.ConnStatus.OK

    def prepare(self, name: str, sql: str) -> None:
        """Have the server parse a statement once."""
        self._exchange([partial(self._pg.send_prepare, name.encode(), sql.encode())])

    def run(self, *statements: Statement) -> list[Result]:
        """Run all in one transaction and one round trip: all or nothing. The results come in the same order."""
        return self._exchange([partial(self._send, statement) for statement in statements])

    def close(self) -> None:
        """End the session. Idempotent."""
        self._connection.close()

    def _send(self, statement: Statement) -> None:
        values = [_encoded(value) for value in statement.values]
        formats = [pq.Format.BINARY] * len(values)
        if statement.name:
            self._pg.send_query_prepared(statement.name.encode(), values, formats, pq.Format.BINARY)
        else:
            self._pg.send_query_params(statement.sql.encode(), values, None, formats, pq.Format.BINARY)

    def _exchange(self, sends: Sequence[Callable[[], None]]) -> list[Result]:
        """Send all and one sync, then read their results; https://www.postgresql.org/docs/current/libpq-pipeline-mode.html."""
        if not self.is_usable:
            raise self._lost("the connection is closed")
        try:
            self._pg.enter_pipeline_mode()
            for send in sends:
                send()
            self._pg.pipeline_sync()
            results = self._results(time.monotonic() + ANSWER_SECONDS)
            self._pg.exit_pipeline_mode()
        except psycopg.OperationalError as error:
            self.close()
            raise self._lost(str(error)) from error
        for result in results:
            if result.status not in _OK:
                raise self._refused(result)
        return [_decoded(result) for result in results]

    def _results(self, deadline: float) -> list[PGresult]:
        results: list[PGresult] = []
        while True:
            while self._pg.flush():
                self._wait(select.POLLIN | select.POLLOUT, deadline)
                self._pg.consume_input()
            while self._pg.is_busy():
                self._wait(select.POLLIN, deadline)
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is None:
                continue  # between two statements
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)

    def _wait(self, events: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._pg.socket, events)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS:g} s")

    def _lost(self, reason: str) -> JournalUnavailable:
        return JournalUnavailable(
            f"journal {self._location}: {reason.strip()}. Check that the server runs and can be reached, then reopen"
        )

    def _refused(self, result: PGresult) -> JournalError:
        """Our error for one of the server's, by SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        text = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"no message").decode("utf-8", "replace")
        said = f"PostgreSQL says {text!r} ({state})"
        match state:
            case "53100":
                return JournalFull(
                    f"journal {self._location}: {said}. Free space on the server's disk and commit again"
                )
            case "23505":
                return Fenced(f"journal {self._location}: {said}. Another interchange has written; stop this one")
            case "42P01" | "42703" | "42804" | "XX001" | "XX002":
                return JournalDamaged(self._location, None, said)
        self.close()
        return self._lost(said)


def _encoded(value: Value) -> bytes:
    if isinstance(value, int):
        return encoded_bigint(value)
    return value.encode() if isinstance(value, str) else value


def _decoded(result: PGresult) -> Result:
    columns = range(result.nfields)
    rows = [tuple(result.get_value(row, column) or b"" for column in columns) for row in range(result.ntuples)]
    return Result(rows, result.command_tuples or 0)
