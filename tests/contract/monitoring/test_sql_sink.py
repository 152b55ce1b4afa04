"""What the sql sink promises, on both databases: one row for one fact, whatever comes twice, late or hurt.

Out of scope: how messages get there.
"""

import random
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from blockyard.errors import ConfigError
from blockyard.radios import Arrival
from blockyard.wire.monitoring import AnyRecord, Block, File, Needs, Node, Run, Tries, TryState, Use, WorkerTasks
from blockyard_monitoring.sinks.port import SinkUnavailable
from blockyard_monitoring.sinks.sql import SqlSink, partitions, schema, tables
from tests.contract.monitoring.databases import Database, PostgresDatabase, SqliteDatabase
from tests.fixtures.postgres import Postgres
from tests.unit.monitoring.messages import AT, a_sample, a_try, an_arrival, an_event, some_tasks, some_tries

Opened = Callable[[], SqlSink]
TASK = 1 << 32


def a_run() -> list[Arrival]:
    """Three tasks, of which one failed, and all around them."""
    failed = [a_try(TASK + 2, state=TryState.RAISED, kind="ValueError", message="no")]
    tries = some_tries(count=2)
    tries.tries.extend(failed)
    return [
        an_arrival(
            Run(1, "nightly", "client:me", "host:1", "3.11", AT), Run(2, "asks", name="a command"),
            some_tasks(count=3), tries, a_sample(),
            Node("m1", "default", "block-1", "node-1", AT, "joined"), Needs(TASK + 1, [[TASK]]),
            Block("default", "block-1", AT, "RUNNING"), File(TASK, 1 << 20, "stdout", "/tmp/out"), an_event(),
            File(TASK, 1 << 20, "printed", "blockyard output 1-0"),
            File(TASK + 1, 1 << 20, "printed", "blockyard output 1-1"),
        )
    ]  # fmt: skip


def counted(database: Database) -> dict[str, int]:
    """Rows of every table."""
    return {name: database.ask(f'SELECT count(*) FROM "{name}"')[0][0] for name in tables.metadata.tables}


def test_the_views_tell_of_a_run(opened: Opened, database: Database) -> None:
    opened().write(a_run())
    assert database.ask('SELECT run_id, tasks_failed_count, tasks_completed_count FROM "workflow"') == [
        ("nightly", 1, 2)
    ]
    assert database.ask('SELECT task_id, task_depends, task_fail_count FROM "task" ORDER BY 1') == [
        ("1-0", None, 0),
        ("1-1", "1-0", 0),
        ("1-2", None, 1),
    ]
    assert database.ask('SELECT task_stdout, task_stderr FROM "task" ORDER BY task_id') == [
        ("/tmp/out", "blockyard output 1-0"),
        ("blockyard output 1-1", "blockyard output 1-1"),
        (None, None),
    ]
    assert database.ask('SELECT block_id, hostname, task_fail_history FROM "try" ORDER BY task_id DESC LIMIT 1') == [
        ("block-1", "node-1", "ValueError: no")
    ]
    assert database.ask('SELECT status, executor_label FROM "block"') == [("RUNNING", "default")]
    assert database.ask('SELECT hostname, uid FROM "node"') == [("node-1", "m1")]
    assert database.ask('SELECT psutil_process_memory_resident FROM "resource"') == [(1 << 20,)]
    assert database.ask("SELECT what FROM orphans WHERE count > 0") == []
    assert database.ask("SELECT ended, done FROM submission_progress") == [(3, 2)]


def test_tries_states_and_samples_join_by_their_number(opened: Opened, database: Database) -> None:
    first, second, other = 1 << 20, (1 << 20) + 7, TASK + 1
    tries = [
        a_try(TASK, epoch=first, state=TryState.LOST, is_last=False),
        a_try(TASK, epoch=second),
        a_try(other, epoch=first, state=TryState.JOIN, is_last=False),
        a_try(other, epoch=0),
    ]
    node = Node("m1", "default", "block-1", "node-1", AT, "joined", memory_bytes=8 << 20)
    told = Tries(TASK, "default", "m1", "block-1", "node-1", AT + 20_000, tries)
    opened().write([an_arrival(some_tasks(count=2), told, a_sample(epoch=second), node)])

    assert database.ask('SELECT task_id, try_id FROM "try" ORDER BY 1, 2') == [("1-0", 0), ("1-0", 1), ("1-1", 0)]
    assert database.ask(
        """SELECT t.task_id, t.try_id, s.task_status_name FROM "try" t
        JOIN status s ON s.task_id = t.task_id AND s.try_id = t.try_id
        WHERE s.task_status_name NOT IN ('pending', 'launched', 'running', 'running_ended') ORDER BY 1, 2, 3"""
    ) == [
        ("1-0", 0, "fail_retryable"), ("1-0", 1, "exec_done"), ("1-1", 0, "exec_done"), ("1-1", 0, "joining"),
    ]  # fmt: skip
    assert database.ask('SELECT try_id FROM "status" EXCEPT SELECT try_id FROM "try"') == []
    assert database.ask('SELECT try_id, psutil_process_memory_percent FROM "resource"') == [(1, 12.5)]


def test_states_of_a_task_come_in_their_order(opened: Opened, database: Database) -> None:
    opened().write(a_run())
    found = database.ask("SELECT task_status_name, timestamp FROM \"status\" WHERE task_id = '1-0' ORDER BY timestamp")
    assert [name for name, _ in found[:3]] == ["pending", "launched", "running"]
    assert {name for name, _ in found[3:]} == {"running_ended", "exec_done"}
    assert all(before <= after for (_, before), (_, after) in pairwise(found))


@pytest.mark.parametrize("wrong_by", [-3600_000_000, 0, 5_000_000])
@pytest.mark.parametrize("workers_first", [True, False])
def test_times_of_a_machine_whose_clock_is_wrong_are_put_right(
    opened: Opened, database: Database, wrong_by: int, workers_first: bool
) -> None:
    began = AT + 12_000
    use = Use(TASK, 1 << 20, began - wrong_by, began - wrong_by + 5_000)
    told: list[AnyRecord] = [some_tries(), WorkerTasks("default", "m1", "block-1", "node-1", 0, 77, "", [use])]
    batch = [an_arrival(some_tasks()), *(an_arrival(one, number=2) for one in (told[::-1] if workers_first else told))]
    opened().write(batch)
    ((assigned, start, end, returned),) = database.ask(
        "SELECT assigned_us, w.began_us, w.ended_us, returned_us FROM tries t JOIN worker_tasks w ON w.task = t.task"
    )
    assert assigned <= start <= end <= returned
    assert end - start == 5_000
    assert (start == began) is (wrong_by == 0)
    assert database.ask("SELECT clock_us <> 0 FROM worker_tasks")[0][0] == bool(wrong_by)


def test_the_same_message_twice_is_one_row_each(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write(a_run())
    before = counted(database)
    sink.write([*a_run(), *a_run()])
    opened().write(a_run())
    assert counted(database) == before
    assert before["tries"] == 3


def test_rows_are_the_same_whichever_of_them_were_there_before(opened: Opened, database: Database) -> None:
    """Batches in turn of new rows, old ones and both, more of them than are written with care after a conflict."""
    sink, drawn = opened(), random.Random(11)
    states: dict[int, int] = {}
    for number in range(1, 60):
        tasks = drawn.sample(range(40), 3) if number % 20 < 4 else [1000 + 3 * number + place for place in range(3)]
        for task in tasks:
            ends = drawn.random() < 0.5 or states.get(task) == 0
            states[task] = 0 if ends else TryState.RUNNING
            fields = {} if ends else {"state": TryState.RUNNING, "is_last": False}
            sink.write([an_arrival(some_tries(task, **fields), a_sample(task), number=number)])
    assert dict(database.ask("SELECT task, state FROM tries")) == states
    assert database.ask("SELECT count(*) FROM samples") == [(len(states),)]


@pytest.mark.needs_postgres
def test_tables_of_the_connection_are_made_for_what_met_a_row_and_for_nothing_else(
    postgresql: PostgresDatabase,
) -> None:
    sink = SqlSink(postgresql.url)
    sink.start()
    made = "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"
    sink.write([an_arrival(some_tasks(), some_tries(), a_sample())])
    assert postgresql.ask(made) == []
    sink.write([an_arrival(some_tries(), a_sample(TASK + 1), number=2)])
    assert postgresql.ask(made) == [("stage_tries",)]
    sink.close()


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_a_try_that_ended_does_not_go_on_again(opened: Opened, database: Database, is_one_batch: bool) -> None:
    sink = opened()
    ended, running = an_arrival(some_tries()), an_arrival(some_tries(state=TryState.RUNNING, is_last=False), number=2)
    if is_one_batch:
        sink.write([ended, running])
    else:
        sink.write([ended])
        sink.write([running])
    assert database.ask("SELECT state, is_last FROM tries") == [(0, 1)]


def test_a_running_try_is_there_and_ends_in_the_same_row(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write([an_arrival(some_tasks(), some_tries(state=TryState.RUNNING, is_last=False))])
    assert database.ask('SELECT task_id, task_time_returned FROM "task"') == [("1-0", None)]
    sink.write([an_arrival(some_tries(), number=2)])
    assert database.ask("SELECT state FROM tries") == [(0,)]


def test_beginning_and_end_of_a_session_are_one_row_in_any_order(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write([an_arrival(Run(1, "r", ended_us=AT + 5))])
    sink.write([an_arrival(Run(1, "r", began_us=AT), number=2)])
    assert database.ask("SELECT began_us, ended_us FROM sessions") == [(AT, AT + 5)]


def test_texts_arrive_as_they_are(opened: Opened, database: Database) -> None:
    message = "tab\t newline\n return\r back\\slash \\N 'quote' \"double\" ünï ✓"
    opened().write([an_arrival(some_tries(state=TryState.RAISED, message=message))])
    assert database.ask("SELECT message FROM tries") == [(message,)]


def test_a_nul_does_not_stop_the_rest(opened: Opened, database: Database) -> None:
    opened().write([an_arrival(some_tries(count=3, message="a\0b"))])
    assert database.ask("SELECT count(*) FROM tries") == [(3,)]


def test_tasks_with_the_highest_bit_keep_their_name(opened: Opened, database: Database) -> None:
    first = (1 << 31 | 5) << 32
    opened().write([an_arrival(some_tasks(first), some_tries(first))])
    assert database.ask('SELECT task_id FROM "task"') == [("80000005-0",)]


def test_the_schema_is_what_the_tables_say_and_goes_up_and_down(opened: Opened, database: Database) -> None:
    opened().close()
    url = database.url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": _is_no_partition})
        assert compare_metadata(context, tables.metadata) == []
        connection.rollback()
        schema.downgrade(connection, "base")
        left = connection.execute(text(_LEFT[connection.dialect.name])).fetchall()
        assert [name for (name,) in left if name != "alembic_version"] == []
        connection.rollback()
        schema.upgrade(connection)
        assert schema.revision(connection) == schema.HEAD
    engine.dispose()


def _is_no_partition(name: str | None, kind: str, _: object) -> bool:
    return kind != "table" or name not in [partitions.rest(table) for table in partitions.PARTITIONED]


_LEFT = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')",
    "postgresql": "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
}


def test_the_newest_schema_is_the_newest_migration() -> None:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "blockyard_monitoring:sinks/sql/migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_a_newer_schema_is_refused(opened: Opened, database: Database) -> None:
    opened().close()
    database.do("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="9999"):
        SqlSink(database.url).start()


def test_a_packet_put_aside_can_be_read(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.quarantine(an_arrival(an_event("what it said")), "ValueError: no")
    ((source, reason, packet),) = database.ask("SELECT source, reason, packet FROM quarantine")
    assert (source, reason) == ("interchange:1", "ValueError: no")
    assert "what it said" in packet


def test_a_file_that_is_locked_is_unavailable_and_later_written(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "history.db")
    sink = SqlSink(database.url)
    sink.start()
    holder = sqlite3.connect(database.path)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(SinkUnavailable, match="locked"):
            sink.write(a_run())
    finally:
        holder.close()
    sink.write(a_run())
    assert counted(database)["tries"] == 3
    sink.close()


@pytest.mark.needs_postgres
def test_a_server_that_was_killed_is_unavailable_and_later_written(postgres: Postgres) -> None:
    postgres.run("CREATE DATABASE killed")
    database = PostgresDatabase(postgres.url.rpartition("/")[0] + "/killed")
    sink = SqlSink(database.url)
    sink.start()
    sink.write([an_arrival(some_tries())])
    postgres.kill()
    try:
        with pytest.raises(SinkUnavailable):
            sink.write([an_arrival(some_tries(TASK + 1), number=2)])
    finally:
        postgres.start()
    sink.write([an_arrival(some_tries(TASK + 1), number=2)])
    assert database.ask("SELECT count(*) FROM tries") == [(2,)]
    sink.close()


@pytest.mark.parametrize(
    "url, sentence",
    [("mysql://x/y", "sqlite or postgresql"), ("sqlite:///relative.db", "whole path"), ("nonsense", "no database URL")],
)
def test_a_url_that_is_none_is_refused_by_name(url: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        SqlSink(url)


def test_a_password_is_never_shown() -> None:
    with pytest.raises(SinkUnavailable) as raised:
        SqlSink("postgresql://me:hush@127.0.0.1:1/none").start()
    assert "hush" not in str(raised.value)
