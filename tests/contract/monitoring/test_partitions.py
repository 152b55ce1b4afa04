"""In PostgreSQL, samples and log lines go by whole days where a policy lets any go; others stay.

Out of scope: what goes row by row (`test_expiry`).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from sqlalchemy import Connection, create_engine

from blockyard.wire.monitoring import Event
from blockyard_monitoring.sinks.sql import SqlSink, partitions, schema
from blockyard_monitoring.sinks.sql.partitions import DAY_US
from tests.contract.monitoring.databases import PostgresDatabase
from tests.contract.monitoring.test_expiry import swept
from tests.unit.monitoring.messages import AT, a_sample, an_arrival

pytestmark = pytest.mark.needs_postgres

MIDNIGHT = AT // DAY_US * DAY_US
KEPT = 5 * DAY_US


@contextmanager
def connected(postgresql: PostgresDatabase) -> Iterator[Connection]:
    """One transaction."""
    engine = create_engine(postgresql.url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def days(postgresql: PostgresDatabase) -> PostgresDatabase:
    """With the tables, and partitions from `MIDNIGHT` on: as a hub of that day has made them."""
    sink = SqlSink(postgresql.url)
    sink.start()
    sink.close()
    with connected(postgresql) as connection:
        partitions.make_ahead(connection, KEPT, AT)
    return postgresql


def write(postgresql: PostgresDatabase, *instants: int) -> None:
    """A sample and a log line of each."""
    sink = SqlSink(postgresql.url)
    sink.start()
    for number, at_us in enumerate(instants, 1):
        sample = a_sample(number, at_us)
        sink.write([an_arrival(sample, Event(at_us, "test", f"subject-{number}"), number=number)])
    sink.close()


def where(postgresql: PostgresDatabase, table: str) -> dict[str, int]:
    """Rows by partition."""
    return dict(postgresql.ask(f"SELECT tableoid::regclass::text, count(*) FROM {table} GROUP BY 1"))


def bounds(postgresql: PostgresDatabase, table: str) -> list[tuple[int, int]]:
    with connected(postgresql) as connection:
        return sorted((one.begin_us, one.end_us) for one in partitions.found(connection, table))


def test_rows_are_in_the_partition_of_their_day_and_strays_in_the_rest(days: PostgresDatabase) -> None:
    write(days, MIDNIGHT, MIDNIGHT + DAY_US - 1, MIDNIGHT + DAY_US, MIDNIGHT - 1, MIDNIGHT + 900 * DAY_US)
    for table in partitions.PARTITIONED:
        first, second = (f"{table}_20261118", f"{table}_20261119")
        assert where(days, table) == {first: 2, second: 1, f"{table}_rest": 2}
    assert days.ask("SELECT count FROM \"orphans\" WHERE what = 'samples without a try'") == [(5,)]


def test_the_same_row_again_is_one_row(days: PostgresDatabase) -> None:
    write(days, AT, AT)
    write(days, AT)
    assert days.ask("SELECT count(*) FROM samples") == [(2,)], "of two tasks"
    assert days.ask("SELECT count(*) FROM events") == [(2,)]


def test_partitions_are_there_ahead_of_their_time_and_follow_one_another(days: PostgresDatabase) -> None:
    for now in (AT, AT + DAY_US, AT + DAY_US, AT + 2 * DAY_US):
        with connected(days) as connection:
            partitions.make_ahead(connection, KEPT, now)
    found = bounds(days, "samples")
    assert found[0][0] == MIDNIGHT
    assert found[-1][1] >= AT + 4 * DAY_US
    assert all(end == begin for (_, end), (begin, _) in pairwise(found))


def test_much_that_is_kept_makes_few_and_wide_partitions(days: PostgresDatabase) -> None:
    with connected(days) as connection:
        partitions.make_ahead(connection, 4000 * DAY_US, AT + 30 * DAY_US)
    begin, end = bounds(days, "samples")[-1]
    assert end - begin == 100 * DAY_US


def test_a_day_that_has_rows_in_the_rest_is_left_there(postgresql: PostgresDatabase) -> None:
    write(postgresql, AT)
    with connected(postgresql) as connection:
        partitions.make_ahead(connection, KEPT, AT)
    write(postgresql, AT + 1)
    assert where(postgresql, "samples") == {"samples_rest": 2}
    assert bounds(postgresql, "samples")[0][0] == MIDNIGHT + DAY_US


def test_days_that_are_old_go_whole_and_a_day_that_is_partly_old_stays(days: PostgresDatabase) -> None:
    write(days, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY_US, MIDNIGHT + DAY_US + 2)
    gone, _ = swept(days, MIDNIGHT + DAY_US + 1)
    assert where(days, "samples") == {"samples_20261119": 2}
    assert where(days, "events") == {"events_20261119": 2}
    assert bounds(days, "samples")[0][0] == MIDNIGHT + DAY_US
    assert gone["events"] >= 1, "those of the rest are counted one by one"


def test_a_hub_with_a_policy_makes_partitions_before_it_writes(postgresql: PostgresDatabase) -> None:
    now = int(time.time() * 1e6)
    sink = SqlSink(postgresql.url, keep_days=5)
    sink.start()
    sink.write([an_arrival(a_sample(1, now))])
    sink.close()
    (name,) = where(postgresql, "samples")
    assert name != "samples_rest"
    without = SqlSink(postgresql.url)
    without.start()
    before = bounds(postgresql, "samples")
    without.close()
    assert bounds(postgresql, "samples") == before


def test_who_might_read_before_an_upgrade_may_read_after_it(postgresql: PostgresDatabase) -> None:
    with connected(postgresql) as connection:
        schema.upgrade(connection, "0005")
    postgresql.do("DROP ROLE IF EXISTS reader_of_history")
    postgresql.do("CREATE ROLE reader_of_history")
    postgresql.do('GRANT SELECT ON samples, events, "orphans" TO reader_of_history')
    write(postgresql, AT)
    ask = "SELECT has_table_privilege('reader_of_history', '{}', 'SELECT')"
    for table in ("samples", "events", "orphans"):
        assert postgresql.ask(ask.format(table)) == [(True,)]
    postgresql.do("REVOKE ALL ON samples, events, orphans, samples_rest, events_rest FROM reader_of_history")
    postgresql.do("DROP ROLE reader_of_history")


def test_rows_of_all_partitions_go_down_into_one_table_and_up_again(days: PostgresDatabase) -> None:
    write(days, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY_US)
    before = {table: sorted(days.ask(f"SELECT * FROM {table}")) for table in partitions.PARTITIONED}
    with connected(days) as connection:
        schema.downgrade(connection, "0005")
    assert {table: sorted(days.ask(f"SELECT * FROM {table}")) for table in before} == before
    write(days, MIDNIGHT + 1)  # by a hub that brings the schema up again
    for table, rows in before.items():
        assert where(days, table) == {f"{table}_rest": len(rows) + 1}
