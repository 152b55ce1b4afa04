"""What the history answers, in both databases, of records that the sql sink wrote; and how it bears many of them."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blockyard.errors import ConfigError
from blockyard.wire.monitoring import (
    AnyRecord,
    Block,
    File,
    Needs,
    Node,
    Run,
    Tasks,
    Tries,
    Try,
    TryState,
    Use,
    WorkerTasks,
)
from blockyard_monitoring import report
from blockyard_monitoring.history import History, HistoryAway, blocks, failures, graph, runs, summary, tasks, timeline
from blockyard_monitoring.history.shapes import STATES
from blockyard_monitoring.sinks.sql import SqlSink
from blockyard_monitoring.suites import arriving, one_of_each
from tests.contract.monitoring.databases import Database
from tests.machine import Size, size

AT = 1_795_000_000_000_000
SECOND = 1_000_000
FIRST = 9 << 32
JOINED = 1 << 63 | 9 << 32
"""Of a task that another left to be done; its number in the database is negative."""
SITE = ("default", "m1", "block-1", "node-1")


@pytest.fixture
def history(database: Database, opened: Callable[[], SqlSink]) -> Iterator[History]:
    """After a run of five tasks, and one record of each kind of another run."""
    opened().write([arriving([*one_of_each(), *a_run()])])
    made = History(database.url)
    yield made
    made.close()


def a_run() -> list[AnyRecord]:
    """0 is done in 4 s, 1 after a failure, 2 needs both and runs, 3 needs 2, 4 left a task and ended after it."""
    last, more = True, False
    return [
        Run(9, "sweep", "client:me", "laptop:1", "3.11", AT),
        Tasks(FIRST, 4, 9, "sweep", "default", "module.f", b"\1", AT),
        Tasks(FIRST + 4, 1, 9, "sweep", "gpu", "module.g", b"\2", AT, "named"),
        Tasks(JOINED, 1, 9, "sweep", "gpu", "module.h", b"\3", AT, parent=FIRST + 4),
        Needs(FIRST + 2, [[FIRST, FIRST + 1], [FIRST + 2]]),
        Tries(FIRST, *SITE, AT + 5 * SECOND, [Try(FIRST, 8, TryState.DONE, last, AT, AT + SECOND, 4 * SECOND)]),
        Tries(
            FIRST, *SITE, AT + 2 * SECOND,
            [Try(FIRST + 1, 8, TryState.RAISED, more, AT, AT + SECOND, 500_000, "builtins.OSError", "no route")],
        ),
        Tries(FIRST, *SITE, AT + 4 * SECOND, [Try(FIRST + 1, 9, TryState.DONE, last, AT, AT + 3 * SECOND, SECOND)]),
        Tries(FIRST, *SITE, AT + 6 * SECOND, [Try(FIRST + 2, 8, TryState.RUNNING, more, AT, AT + 5 * SECOND)]),
        Tries(FIRST + 4, *SITE, AT + 2 * SECOND, [Try(FIRST + 4, 8, TryState.JOIN, more, AT, AT + SECOND, 1)]),
        Tries(JOINED, *SITE, AT + 3 * SECOND, [Try(JOINED, 8, TryState.DONE, last, AT, AT + 2 * SECOND, 2)]),
        Tries(FIRST + 4, "default", "", "", "", AT + 3 * SECOND, [Try(FIRST + 4, 0, TryState.DONE, last, AT, 0)]),
        WorkerTasks(*SITE, 0, 77, "", [Use(FIRST, 8, AT + SECOND, AT + 5 * SECOND, 3 * SECOND, 0, 1 << 20)]),
        WorkerTasks(*SITE, 1, 78, "", [Use(FIRST + 1, 9, AT + 3 * SECOND, AT + 4 * SECOND, 1000, 0, 1 << 10)]),
        File(FIRST + 1, 9, "output", "/tmp/out"),
        File(FIRST + 1, 9, "printed", "blockyard output 9-1"),
        Block("default", "block-1", AT + 1, "RUNNING"),
        Block("default", "block-2", AT + 2, "PENDING"),
        Node("m9", "default", "block-2", "node-2", AT + 3, "joined", workers=4, cores=4.0),
    ]  # fmt: skip


def test_runs_and_what_became_of_their_tasks(history: History) -> None:
    with history.connection() as connection:
        found = runs.runs(connection)
        assert {(one.run, one.tasks, one.done, one.failed, one.unfinished) for one in found.rows} == {
            ("nightly", 3, 2, 1, 0), ("sweep", 6, 4, 0, 2),
        }  # fmt: skip
        assert found.next is None
        first = runs.runs(connection, limit=1)
        assert first.next is not None
        second = runs.runs(connection, (first.next[0], first.next[1]), limit=1)
        assert [*first.rows, *second.rows] == found.rows
        assert runs.run(connection, "other") is None
        spent = runs.spent(connection, "sweep")
        assert (spent.tries, spent.ran_us, spent.workers) == (5, 4 * SECOND + 500_000 + SECOND + 3, 2)
        assert (spent.cpu_us, spent.peak_bytes) == (3 * SECOND + 1000, 1 << 20)
        (line, *_) = runs.functions(connection, "sweep")
        assert (line.label, line.tries, line.failed, line.longest_us) == ("module.f", 3, 1, 4 * SECOND)


def test_tasks_by_any_filter_and_page_by_page(history: History) -> None:
    with history.connection() as connection:
        every = tasks.tasks(connection, tasks.Wanted(run="sweep"))
        assert [(one.state, one.tries) for one in every.rows] == [
            ("running", 1), ("done", 1), ("done", 2), ("done", 1), ("done", 1),
        ]  # fmt: skip
        seen: list[tasks.TaskLine] = []
        behind: tuple[int, int] | None = None
        while True:
            page = tasks.tasks(connection, tasks.Wanted(run="sweep"), behind, limit=2)
            seen += page.rows
            if page.next is None:
                break
            behind = (page.next[0], page.next[1])
        assert seen == every.rows
        for state in STATES:
            tasks.tasks(connection, tasks.Wanted(state=state))
        (named,) = tasks.tasks(connection, tasks.Wanted(function="named", pool="gpu")).rows
        assert named.label == "named"
        (waiting,) = tasks.waiting(connection, tasks.Wanted(run="sweep"))
        assert (waiting.count, waiting.waiting) == (4, 1)


def test_one_task_with_all_that_belongs_to_it(history: History) -> None:
    with history.connection() as connection:
        found = tasks.task(connection, FIRST + 1)
        assert found is not None
        assert [(one.number, one.state, one.kind, one.worker) for one in found.tries] == [
            (1, "raised", "builtins.OSError", -1), (2, "done", "", 1),
        ]  # fmt: skip
        assert (found.needs, found.needed_by) == ([], ["9-2"])
        assert [one.path for one in found.files] == ["/tmp/out"]
        joined = tasks.task(connection, JOINED - (1 << 64))
        assert joined is not None
        assert (joined.label, joined.parent) == ("module.h", "9-4")
        waits = tasks.task(connection, FIRST + 3)
        assert waits is not None
        assert (waits.tries, waits.needs) == ([], ["9-2"])
        assert tasks.task(connection, FIRST + 5) is None
        assert tasks.task(connection, 0) is None


def test_failures_blocks_and_managers(history: History) -> None:
    with history.connection() as connection:
        (line,) = failures.failures(connection, "sweep")
        assert (line.state, line.kind, line.count, line.ended_tasks, line.message) == (
            "raised", "builtins.OSError", 1, 0, "no route",
        )  # fmt: skip
        found = blocks.blocks(connection)
        assert [(one.block, one.state) for one in found.rows] == [("block-2", "PENDING"), ("block-1", "RUNNING")]
        first = blocks.blocks(connection, limit=1)
        assert first.next is not None
        at, pool, name = first.next
        assert [one.block for one in blocks.blocks(connection, behind=(at, pool, name)).rows] == ["block-1"]
        assert [one.state for one in blocks.block(connection, "default", "block-1")] == ["FAILED", "RUNNING"]
        assert [one.manager for one in blocks.managers(connection, only_there=True)] == ["m9"]


def test_the_timeline_and_the_graph(history: History) -> None:
    with history.connection() as connection:
        extent = timeline.extent(connection, "sweep")
        assert extent == (AT + SECOND, AT + 6 * SECOND)
        found = timeline.timeline(connection, extent, run="sweep", buckets=5)
        assert [(lane.manager, lane.worker) for lane in found.lanes] == [("m1", -1), ("m1", 0), ("m1", 1)]
        assert sum(one.count for one in found.bins) + len(found.bars) == 6
        (wide,) = [bar for bar in found.bars if bar.lane == 1]
        assert (wide.began_us, wide.ended_us, wide.task) == (AT + SECOND, AT + 5 * SECOND, "9-0")
        usage = timeline.usage(connection, extent, run="sweep", buckets=5)
        assert sum(usage.ended) == 5
        assert usage.busy[1] == pytest.approx(1.0, abs=0.01)
        near = graph.of_task(connection, FIRST + 2)
        assert {(edge.of, edge.to) for edge in near.edges} == {("9-0", "9-2"), ("9-1", "9-2"), ("9-2", "9-3")}
        assert {node.task: node.state for node in near.nodes}["9-3"] == "waiting"
        assert graph.of_run(connection, "sweep").edges == near.edges


def test_a_summary_says_how_it_went(database: Database, history: History) -> None:
    found = summary.summarise(database.url, "sweep")
    assert (found.tasks, found.done, found.unfinished, found.tries, found.retried) == (6, 4, 2, 5, 1)
    assert (found.seconds, found.running_seconds, found.workers) == (5.0, 5.500003, 2)
    with pytest.raises(ConfigError, match="knows nothing of it"):
        summary.summarise(database.url, "other")
    with pytest.raises(ConfigError, match=r"knows nothing of it; of its runs the latest are .*\bsweep\b"):
        report.report(database.url, "other", "markdown")
    text = report.report(database.url, "sweep", "markdown")
    assert "6 tasks: 4 done" in text
    assert "| module.f | 3 | 1 |" in text
    assert "builtins.OSError" in text
    page = report.report(database.url, "sweep", "html")
    assert "<polyline points=" in page
    assert "builtins.OSError" in page
    assert "<script" not in page


def test_successors_of_dead_workers_are_not_further_ones(database: Database, opened: Callable[[], SqlSink]) -> None:
    records: list[AnyRecord] = [
        Tasks(FIRST, 4, 9, "deaths", "default", "f", b"", AT),
        Node(SITE[1], SITE[0], *SITE[2:], AT, "joined", workers=2),
    ]
    for place in range(4):
        at = AT + place * SECOND
        one = Try(FIRST + place, 8, TryState.DONE, True, AT, at, SECOND)
        records.append(Tries(FIRST, *SITE, at + SECOND, [one]))
        records.append(WorkerTasks(*SITE, place, 77, "", [Use(FIRST + place, 8, at, at + SECOND)]))
    opened().write([arriving(records)])
    made = History(database.url)
    with made.connection() as connection:
        assert runs.spent(connection, "deaths").workers == 2
    made.close()


def test_tries_that_were_told_of_together_ran_one_after_the_other(
    database: Database, opened: Callable[[], SqlSink]
) -> None:
    """Outcomes of short tasks travel by the batch, so when one came does not say when it ran; its worker does."""
    ran, count = SECOND // 100, 10
    ends = AT + SECOND + count * ran
    tries = [Try(FIRST + place, 8, TryState.DONE, True, AT, AT + SECOND, ran) for place in range(count)]
    uses = [Use(one.task, 8, AT + SECOND + i * ran, AT + SECOND + (i + 1) * ran) for i, one in enumerate(tries)]
    opened().write([arriving([
        Tasks(FIRST, count, 9, "batch", "default", "f", b"", AT),
        Tries(FIRST, *SITE, ends, tries),
        WorkerTasks(*SITE, 0, 77, "", uses),
    ])])  # fmt: skip
    history = History(database.url)
    with history.connection() as connection:
        extent = timeline.extent(connection, "batch")
        assert extent is not None
        for buckets in (5, 20):
            usage = timeline.usage(connection, extent, run="batch", buckets=buckets)
            assert usage.busy == pytest.approx([1.0] * buckets, abs=0.01)
        bars = timeline.timeline(connection, extent, run="batch", buckets=20).bars
        assert sorted((one.began_us, one.ended_us) for one in bars) == [(one.began_us, one.ended_us) for one in uses]
    history.close()


def test_many_tasks_are_few_numbers(database: Database, opened: Callable[[], SqlSink], tmp_path: Path) -> None:
    count = 100_000 if size() is Size.FULL else 8_000
    sink = opened()
    lanes, batch = 8, 4_000
    sink.write([arriving([Tasks(FIRST, count, 9, "many", "default", "f", b"", AT)])])
    for begin in range(0, count, batch):
        records: list[AnyRecord] = []
        for place in range(begin, begin + batch):
            at = AT + place * 1000
            one = Try(FIRST + place, 8, TryState.DONE, True, AT, at, 900 * lanes)
            records.append(Tries(FIRST, *SITE, at + 900 * lanes, [one]))
            records.append(WorkerTasks(*SITE, place % lanes, 77, "", [Use(FIRST + place, 8, at, at + 900 * lanes)]))
        sink.write([arriving(records, begin + 1)])
    history = History(database.url)
    with history.connection() as connection:
        extent = timeline.extent(connection, "many")
        assert extent is not None
        began = time.monotonic()
        found = timeline.timeline(connection, extent, run="many", buckets=400)
        shown = f"{time.monotonic() - began:.2f} s for {count} tasks"
        assert sum(one.count for one in found.bins) + len(found.bars) == count, shown
        assert len(found.bins) + len(found.bars) <= 401 * lanes, shown
        usage = timeline.usage(connection, extent, run="many")
        assert sum(usage.ended) == count
        assert usage.busy[100] == pytest.approx(0.9 * lanes, abs=0.4)
        assert len(tasks.tasks(connection, tasks.Wanted(run="many", state="done"), limit=100).rows) == 100
    history.close()
    print(shown)  # noqa: T201 - for who asks with -s


def test_what_is_not_there_is_said(database: Database, tmp_path: Path) -> None:
    with pytest.raises(HistoryAway, match="no such file"), History(f"sqlite:///{tmp_path}/none.db").connection():
        pass
    (tmp_path / "other.db").write_text("not a database " * 100)
    with pytest.raises(HistoryAway, match="not a database"), History(f"sqlite:///{tmp_path}/other.db").connection():
        pass
    if database.url.startswith("postgresql"):
        empty = History(database.url)
        with pytest.raises(HistoryAway, match="there is none yet"), empty.connection():
            pass
        empty.close()
    with pytest.raises(ConfigError, match="may be sqlite or postgresql"):
        History("mysql://x")
