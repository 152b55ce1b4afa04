"""In PostgreSQL, samples and log lines of some days are a table of their own, which goes whole when they are old.

Only where something goes at all (`keep_days`): partitions are made ahead of the time that they are for, and a table
of the rest has what comes for other times, or came before. Without such a policy all rows are in the rest.
"""

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

DAY_US: Final = 86_400_000_000
PARTITIONED: Final = ("samples", "events")
"""Tables whose rows are never changed, and whose key has their time, `at_us`."""
_AHEAD_US: Final = 2 * DAY_US
_MOST: Final = 40
"""Partitions, about, that a table has: each is looked into by who asks for a task."""
_LOCK_SECONDS: Final = 2
"""That a partition waits for those who read, who in turn wait for it."""
_BOUNDS: Final = re.compile(r"FROM \('(\d+)'\) TO \('(\d+)'\)")


class Partition(NamedTuple):
    """One, for `begin_us` <= `at_us` < `end_us`."""

    name: str
    begin_us: int
    end_us: int


def rest(table: str) -> str:
    """The table of what is in no other partition."""
    return f"{table}_rest"


def found(connection: Connection, table: str) -> list[Partition]:
    """Those that are there, without the rest."""
    ask = text(
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = CAST(:table AS regclass)"
    )
    rows = connection.execute(ask, {"table": table})
    bounds = ((name, _BOUNDS.search(bound)) for name, bound in rows)
    return [Partition(name, int(its[1]), int(its[2])) for name, its in bounds if its is not None]


def make_ahead(connection: Connection, keep_us: int, now_us: int) -> None:
    """Make those of today and of the next days, each for a day or, when much is kept, for several.

    None is made for a time of which the rest has something.
    """
    width = max(1, -(-keep_us // (_MOST * DAY_US))) * DAY_US
    for table in PARTITIONED:
        begin = max([now_us // DAY_US * DAY_US, *(one.end_us for one in found(connection, table))])
        while begin < now_us + _AHEAD_US:
            if not _has_rest(connection, table, begin, begin + width):
                _make(connection, table, begin, begin + width)
            begin += width


def drop_before(connection: Connection, limit_us: int) -> Counter[str]:
    """Drop those whose rows are all older; by table how many rows that were, as far as the server knows."""
    gone: Counter[str] = Counter()
    for table in PARTITIONED:
        for one in found(connection, table):
            if one.end_us <= limit_us:
                ask = text("SELECT pg_stat_get_live_tuples(CAST(:name AS regclass))")
                gone[table] += connection.execute(ask, {"name": one.name}).scalar() or 0
                _lock_briefly(connection)
                connection.exec_driver_sql(f'DROP TABLE "{one.name}"')
    return gone


def _make(connection: Connection, table: str, begin_us: int, end_us: int) -> None:
    name = f"{table}_{datetime.fromtimestamp(begin_us / 1e6, UTC):%Y%m%d}"
    _lock_briefly(connection)
    connection.exec_driver_sql(
        f'CREATE TABLE "{name}" PARTITION OF "{table}" FOR VALUES FROM ({begin_us}) TO ({end_us})'
    )


def _has_rest(connection: Connection, table: str, begin_us: int, end_us: int) -> bool:
    ask = text(f"SELECT EXISTS (SELECT 1 FROM {rest(table)} WHERE at_us >= :begin AND at_us < :end)")
    return bool(connection.execute(ask, {"begin": begin_us, "end": end_us}).scalar())


def _lock_briefly(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
