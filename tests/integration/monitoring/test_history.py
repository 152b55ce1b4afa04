"""Real processes leave a history that is whole: whoever is killed meanwhile, each task ends once in the database.

Out of scope: what the sink does with rows (`tests/contract/monitoring`).
"""

import asyncio
import contextlib
import json
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.cli.exits import Exit
from blockyard.errors import ConfigError, TaskLost
from blockyard.managed import run_managed
from blockyard.monitoring import Monitoring
from blockyard.radios import FilesystemRadio, InterchangeRadio, RadioConfig, UdpRadio, ZmqRadio
from tests.contract.monitoring.databases import SqliteDatabase
from tests.integration.monitoring import jobs
from tests.integration.processes import WITHIN, House, kill, wait_until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def history(tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(tmp_path / "history.db")


def ended(history: SqliteDatabase) -> dict[int, int]:
    """Tasks that ended, by state; none while there is no table yet."""
    if not history.ask("SELECT 1 FROM sqlite_master WHERE name = 'tries'"):
        return {}
    return dict(history.ask("SELECT state, count(*) FROM tries WHERE is_last = 1 GROUP BY state"))


def test_every_task_is_in_the_database_when_the_client_is_done(tmp_path: Path, history: SqliteDatabase) -> None:
    with Client.local(workers=2, folder=tmp_path / "state", monitoring=history.url) as client:
        done = client.submit_many(jobs.twice, range(3000))
        failed = [client.options(retries=1).submit(jobs.fails, number) for number in range(5)]
        follows = client.submit(jobs.twice, done[-1])
        everything: list[Any] = [*done, *failed, follows]
        assert not wait(everything, WITHIN).not_done
    assert ended(history) == {0: 3001, 1: 5}
    assert history.ask("SELECT count(*) FROM tries") == [(3001 + 10,)]
    assert history.ask("SELECT count(*) FROM worker_tasks WHERE ended_us >= began_us AND peak_bytes > 0") == [(3011,)]
    assert history.ask("SELECT what, count FROM orphans WHERE count > 0") == []
    ((completed, failures, ended_at),) = history.ask(
        'SELECT tasks_completed_count, tasks_failed_count, time_completed FROM "workflow"'
    )
    assert (completed, failures) == (3001, 5)
    assert ended_at is not None
    assert history.ask('SELECT count(*) FROM "task" WHERE task_depends IS NOT NULL') == [(1,)]
    told = history.ask("SELECT state, ended_us > 0 FROM blocks ORDER BY at_us")
    assert [state for state, _ in told][:2] == ["PENDING", "RUNNING"]
    assert told[-1] == ("SCALED_IN", 1)


def test_what_a_task_says_has_happened_is_in_the_database(tmp_path: Path, history: SqliteDatabase) -> None:
    with Client.local(workers=1, folder=tmp_path / "state", monitoring=history.url) as client:
        assert client.submit(jobs.says, ["begun", "begun", "half done"]).result(WITHIN) == [True, True, True]
    ((name,),) = history.ask('SELECT task_id FROM "task"')
    found = history.ask("SELECT kind, subject, text FROM events ORDER BY at_us")
    assert found == [("begun", name, '{"place":0}'), ("begun", name, '{"place":1}'), ("half done", name, '{"place":2}')]


def test_where_the_output_of_tasks_is_stands_in_the_database(tmp_path: Path, history: SqliteDatabase) -> None:
    def where(name: str) -> list[tuple[Any, ...]]:
        return history.ask(f"SELECT task_stdout, task_stderr FROM \"task\" WHERE task_func_name LIKE '%{name}'")

    program = {"binary": ["sh", "-c", "echo 1; echo 2 >&2"], "step": "program"}
    with Client.local(workers=1, folder=tmp_path / "state", monitoring=history.url) as client:
        client.submit(jobs.twice, 1).result(WITHIN)
        client.submit(run_managed, {**program, "folder": str(tmp_path / "kept")}).result(WITHIN)
        with pytest.raises(TaskLost):
            client.options(idempotent=False).submit(jobs.prints_and_dies).result(WITHIN)
        runs = client.submit(jobs.prints, str(tmp_path / "go"))
        wait_until("tasks are in the database", lambda: ended(history), bool)
        try:
            wait_until("it is told while it runs", lambda: where("prints"), lambda rows: bool(rows and rows[0][0]))
        finally:
            (tmp_path / "go").touch()
        runs.result(WITHIN)
    ((evidence,),) = history.ask("SELECT evidence FROM tries WHERE state = 7")
    assert "memory of its worker, in all its life: at most " in evidence
    assert where("twice") == [(None, None)]
    assert where("run_managed") == [(str(tmp_path / "kept" / "stdout"), str(tmp_path / "kept" / "stderr"))]
    for name in ("prints", "prints_and_dies"):
        ((stdout, stderr),) = where(name)
        ((task,),) = history.ask(f"SELECT task_id FROM \"task\" WHERE task_func_name LIKE '%{name}'")
        assert stdout == stderr == f"blockyard output {task}"


def test_a_message_is_in_the_database_soon_and_a_long_task_is_seen_running(
    tmp_path: Path, history: SqliteDatabase
) -> None:
    with Client.local(workers=1, folder=tmp_path / "state", monitoring=history.url) as client:
        client.submit(jobs.twice, 1).result(WITHIN)
        wait_until("the task is in the database", lambda: ended(history), lambda found: found == {0: 1})
        nap = client.submit(jobs.naps, 30.0)
        wait_until(
            "it is seen running",
            lambda: history.ask("SELECT count(*) FROM tries WHERE state = -1"),
            lambda found: found == [(1,)],
        )
        nap.cancel()
        client.shutdown(cancel_futures=True)


def test_nothing_is_missing_when_hub_and_interchange_are_killed(tmp_path: Path, history: SqliteDatabase) -> None:
    house = House(tmp_path / "state")
    count = 4000
    with Client.local(workers=2, folder=house.folder, monitoring=history.url) as client:
        client.submit(jobs.twice, 1).result(WITHIN)
        done = []
        for victims in (House.hubs, House.interchanges, House.hubs):
            done += client.submit_many(jobs.twice, range(count))
            (victim,) = wait_until("it runs", lambda victims=victims: victims(house), lambda found: len(found) == 1)  # type: ignore[misc]
            kill(victim)
        assert not wait(done, WITHIN).not_done
    assert ended(history) == {0: 3 * count + 1}
    assert history.ask("SELECT what, count FROM orphans WHERE count > 0") == []


def test_nobody_is_there_without_monitoring(tmp_path: Path) -> None:
    house = House(tmp_path / "state")
    with Client.local(workers=1, folder=house.folder) as client:
        client.submit(jobs.twice, 1).result(WITHIN)
        assert house.hubs() == []
        assert not (house.folder / "hub.sock").exists()


@pytest.mark.parametrize("radio", [ZmqRadio, UdpRadio, FilesystemRadio, InterchangeRadio])
def test_what_workers_used_and_use_travels_by_each_radio(
    tmp_path: Path, history: SqliteDatabase, radio: type[RadioConfig]
) -> None:
    monitoring = Monitoring(database=history.url, radio=radio(), sample_seconds=0.1)
    with Client.local(workers=1, folder=tmp_path / "state", monitoring=monitoring) as client:
        assert not wait(client.submit_many(jobs.twice, range(500)), WITHIN).not_done
        count = 500

        def samples() -> int:
            """After one more nap; a sample may be lost."""
            nonlocal count
            client.submit(jobs.naps, 0.5).result(WITHIN)
            count += 1
            with contextlib.suppress(sqlite3.OperationalError):  # the hub has yet to make the tables
                return int(history.ask("SELECT count(*) FROM samples WHERE resident_bytes > 0")[0][0])
            return 0

        wait_until("a sample is there", samples, lambda seen: seen > 0)
    ((used,),) = history.ask("SELECT count(*) FROM worker_tasks")
    assert used == count if radio is not UdpRadio else 0 < used <= count
    assert ended(history) == {0: count}


def _met(meeting: threading.Barrier) -> None:
    meeting.wait(WITHIN)
    time.sleep(0.001)  # at the barrier neither has to wait when both come at once


def test_threads_of_this_process_leave_the_same_history(
    tmp_path: Path, history: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Client.threads(2, run="here", monitoring=history.url) as client:
        done = client.submit_many(jobs.twice, range(300))
        everything: list[Any] = [*done, client.options(retries=1).submit(jobs.fails, 1)]
        meeting = threading.Barrier(2)  # or else one thread may have done all of it
        everything += client.options(name="meet").submit_many(lambda _: _met(meeting), range(2))
        assert not wait(everything, WITHIN).not_done
    found = client.run.summary()
    assert (found.run, found.tasks, found.done, found.failed, found.unfinished) == ("here", 303, 302, 1, 0)
    assert (found.tries, found.retried, found.lost, found.workers) == (304, 1, 0, 2)
    assert found.seconds > 0
    assert 0 < found.utilisation <= 1
    assert sorted((one.function, one.tries, one.failed) for one in found.functions) == [
        ("fails", 2, 2), ("meet", 2, 0), ("twice", 300, 0),
    ]  # fmt: skip
    assert [(one.state, one.kind, one.count) for one in found.failures] == [("raised", "builtins.ValueError", 2)]
    assert ended(history) == {0: 302, 1: 1}
    assert history.ask("SELECT count(*) FROM worker_tasks") == [(304,)]
    assert history.ask("SELECT count(*) FROM worker_tasks WHERE switches_voluntary > 0")[0][0] >= 1, "who slept"
    assert history.ask("SELECT what, count FROM orphans WHERE count > 0") == []
    assert history.ask('SELECT run_id, time_completed IS NOT NULL FROM "workflow"') == [("here", 1)]
    assert list(tmp_path.glob("blockyard-threads-*")) == []
    with Client.threads(1) as client, pytest.raises(ConfigError, match=r"no history; Client\.threads\(monitoring=True"):
        client.run.summary()
    with pytest.raises(ConfigError, match="radio='udp' is for workers that are processes"):
        Client.threads(1, monitoring=history.url, radio=UdpRadio())


def test_a_database_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="monitoring: database='mysql://x'"):
        Client.local(workers=1, folder=tmp_path / "state", monitoring="mysql://x")
    with pytest.raises(ConfigError, match=r"database='postgres://me:\*\*\*@host/db'; give"):
        Monitoring(database="postgres://me:hunter2@host/db")
    with pytest.raises(ConfigError, match="not both"):
        Client.local(monitoring=Monitoring(), radio=Monitoring().radio)


def test_a_program_follows_what_its_tasks_do(tmp_path: Path, history: SqliteDatabase) -> None:
    async def follow(client: Client) -> dict[str, Any]:
        async for event in client.events(kinds=["Tries"]):
            return event
        raise AssertionError("the stream ended")

    async def watch(folder: Path) -> dict[str, Any]:
        words = ["-c", "from blockyard.cli import main; main()", "watch", str(folder), "--kind", "Tries"]
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        event: dict[str, Any] = json.loads(await process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert await process.wait() == Exit.INTERRUPTED
        return event

    async def both(client: Client, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        following = asyncio.gather(follow(client), watch(folder))
        while not following.done():
            client.submit(jobs.twice, 1)
            await asyncio.sleep(0.1)
        return await following

    with Client.local(workers=1, folder=tmp_path / "state", monitoring=history.url) as client:
        client.submit(jobs.twice, 1).result(WITHIN)
        event, watched = asyncio.run(asyncio.wait_for(both(client, tmp_path / "state"), WITHIN))
    assert watched["record"] == "Tries"
    assert (event["record"], event["pool"], event["tries"][0]["state"]) == ("Tries", "default", "done")
