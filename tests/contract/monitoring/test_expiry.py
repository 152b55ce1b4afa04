"""What is old goes, in steps that are small, and nothing else: on both databases."""

import math
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from sqlalchemy import create_engine

from blockyard.errors import ConfigError
from blockyard.wire.monitoring import AnyRecord, Block, Event, File, Needs, Node, Run, Use, WorkerTasks
from blockyard_monitoring.sinks.sql import SqlSink, tables
from blockyard_monitoring.sinks.sql.expiry import Expiry
from tests.contract.monitoring.databases import Database
from tests.unit.monitoring.messages import AT, a_sample, a_try, an_arrival, some_tasks, some_tries

Opened = Callable[[], SqlSink]
DAY = 86_400_000_000
EPOCH = 1 << 20
SLICE = 7


def a_run(session: int, at: int, count: int = 10, ended: int | None = None) -> list[AnyRecord]:
    """A session with one submission, `ended` of whose tasks ended a second after `at`, and all that belongs to it."""
    first = session << 32
    ended = count if ended is None else ended
    tries = some_tries(first, 0)
    tries.tries.extend(a_try(first + place, queued_us=at, assigned_us=at) for place in range(ended))
    uses = [Use(first + place, EPOCH, at, at + 10) for place in range(ended)]
    return [
        Run(session, f"run-{session}", began_us=at, ended_us=at + 2_000_000),
        _at(some_tasks(first, count), submitted_us=at),
        _at(tries, at_us=at + 1_000_000),
        WorkerTasks("default", "m1", "block-1", "node-1", 0, 7, "", uses),
        Needs(first, [[first + 5], [first + 5]]),
        File(first, EPOCH, "stdout", "/tmp/out", at_us=at),
        *(a_sample(first, at + number) for number in range(20)),
        Event(at, "test", f"subject-{session}", "hello"),
    ]  # fmt: skip


def _at(record: AnyRecord, **fields: object) -> AnyRecord:
    return msgspec.structs.replace(record, **fields)


def swept(database: Database, limit_us: int) -> tuple[Counter[str], int]:
    """One whole sweep: what went, and the most rows of tasks that went in one step."""
    engine = create_engine(database.url.replace("postgresql://", "postgresql+psycopg://"))
    expiry, gone, most = Expiry(SLICE), Counter[str](), 0
    with engine.connect() as connection:
        while True:
            with connection.begin():
                step = expiry.step(connection, limit_us)
            if step is None:
                break
            gone += step
            most = max(most, step["tries"], step["events"])
    engine.dispose()
    return gone, most


def counts(database: Database) -> dict[str, int]:
    """Rows of every table that has some."""
    found = {name: database.ask(f'SELECT count(*) FROM "{name}"')[0][0] for name in tables.metadata.tables}
    return {name: count for name, count in found.items() if count}


def test_the_old_goes_and_the_new_stays(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write([an_arrival(*a_run(2, AT))])
    alone = counts(database)
    sink.write([an_arrival(*a_run(1, AT - 40 * DAY, count=33), number=2)])
    gone, most = swept(database, AT - 30 * DAY)
    assert counts(database) == alone
    assert gone == {
        "sessions": 1, "submissions": 1, "tries": 33, "worker_tasks": 33, "needs": 2, "files": 1, "samples": 20,
        "events": 1,
    }  # fmt: skip
    assert most <= SLICE
    assert database.ask("SELECT what FROM orphans WHERE count > 0") == []
    assert swept(database, AT - 30 * DAY)[0] == {}


def test_what_has_not_ended_stays_whatever_its_age(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write([an_arrival(*a_run(1, AT - 40 * DAY, count=10, ended=9))])
    swept(database, AT)
    found = counts(database)
    assert (found["sessions"], found["submissions"], found["tries"], found["worker_tasks"]) == (1, 1, 9, 9)
    assert "samples" not in found, "they go by their own time"


def test_a_task_that_ended_lately_keeps_its_submission(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write([an_arrival(*a_run(1, AT - 40 * DAY, count=3, ended=2))])
    last = some_tries((1 << 32), 0)
    last.tries.append(a_try((1 << 32) + 2))
    sink.write([an_arrival(_at(last, at_us=AT), number=2)])
    swept(database, AT - 30 * DAY)
    assert counts(database)["tries"] == 3


def test_blocks_and_managers_go_when_they_are_gone(opened: Opened, database: Database) -> None:
    old = AT - 40 * DAY
    opened().write(
        [
            an_arrival(
                Block("default", "there", old, "RUNNING"),
                Block("default", "gone", old, "RUNNING"), Block("default", "gone", old + 1, "SCALED_IN"),
                Node("there", "default", "there", "node-1", old, "joined"),
                Node("gone", "default", "gone", "node-1", old, "joined"),
                Node("gone", "default", "gone", "node-1", old + 1, "gone"),
            )
        ]
    )  # fmt: skip
    gone, _ = swept(database, AT)
    assert gone == {"blocks": 2, "nodes": 2}
    assert database.ask("SELECT block FROM blocks") == database.ask("SELECT manager FROM nodes") == [("there",)]


def test_what_was_going_when_a_hub_died_goes_with_the_next_one(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write([an_arrival(*a_run(1, AT - 40 * DAY, count=33))])
    engine = create_engine(database.url.replace("postgresql://", "postgresql+psycopg://"))
    expiry, gone = Expiry(SLICE), Counter[str]()
    with engine.connect() as connection:
        while not gone["tries"]:
            with connection.begin():
                gone += expiry.step(connection, AT) or Counter()
    engine.dispose()
    assert counts(database)["tries"] == 33 - SLICE
    gone += swept(database, AT)[0]
    assert gone["tries"] == 33
    assert counts(database) == {}


def test_the_sink_sweeps_between_messages_and_counts(database: Database) -> None:
    sink = SqlSink(database.url, keep_days=30)
    sink.start()
    sink.write([an_arrival(*a_run(1, AT - 3000 * DAY, count=5))])
    waits: list[float] = []
    while not waits or waits[-1] < 1.0:
        waits.append(sink.tend())
    assert sink.expired["tries"] == 5
    assert len(waits) > 3
    assert counts(database) == {}
    sink.close()


def test_a_clock_that_is_set_while_the_sink_runs_makes_nothing_old(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = SqlSink(database.url, keep_days=30)
    sink.start()
    sink.write([an_arrival(*a_run(1, int(time.time() * 1e6), count=5))])
    before = counts(database)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 3650 * 86_400)
    while sink.tend() < 1.0:
        pass
    assert not +sink.expired
    assert counts(database) == before
    sink.close()


def test_without_a_limit_nothing_goes(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write([an_arrival(*a_run(1, 1_000_000))])
    before = counts(database)
    assert sink.tend() > 1.0
    assert counts(database) == before


@pytest.mark.parametrize("days", [-1, math.inf, math.nan, 1e9])
def test_a_number_of_days_that_is_none_is_refused(days: float) -> None:
    with pytest.raises(ConfigError, match="keep_days="):
        SqlSink("sqlite:////tmp/none.db", keep_days=days)
