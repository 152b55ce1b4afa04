"""What the interchange counts and times: by stage, by reason of loss, by what managers say; and what survives."""

import math

import msgspec
import pytest

from blockyard.wire import client as client_wire
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Status
from blockyard_interchange.core import compaction, entries
from blockyard_interchange.core.counters import Counters, Loss
from blockyard_interchange.core.figures import PoolFigures, figures
from blockyard_interchange.core.stages import BOUNDS, Histogram, Stage, restored
from tests.unit.interchange.builders import Bench, Manager, a_spec, done, ended
from tests.unit.interchange.test_replay import WAYS, read_again


def of(bench: Bench) -> PoolFigures:
    """The figures of the only pool."""
    (pool,) = figures(bench.state, bench.now).pools
    return pool


def total(histogram: Histogram) -> tuple[int, float]:
    """How many durations, and their sum to the millisecond."""
    return sum(histogram.counts), round(histogram.sum, 3)


def tally(manager: Manager, **counted: int) -> None:
    """A heartbeat with what it has counted so far."""
    manager.say(manager_wire.Heartbeat(0, 1, 0, resident_bytes=5, tally=manager_wire.Tally(**counted)))


def test_each_stage_is_timed_once_for_each_task() -> None:
    bench = Bench()
    client = bench.client()
    client.call(bodies=[b"1", b"2", b"3"])
    bench.turn(2.0)
    manager = bench.manager(workers=3)
    bench.turn(1.0)
    given = manager.assigned()
    assert len(given) == 3
    bench.now += 4.0
    manager.report(*(done(one, seconds=seconds) for one, seconds in zip(given, (0.00005, 0.5, 3.0), strict=True)))
    bench.turn()
    stages = of(bench).stages
    assert total(stages[Stage.QUEUED]) == (3, 9.0)
    assert total(stages[Stage.ASSIGNED]) == (3, 12.0)
    assert total(stages[Stage.RUNNING]) == (3, 3.5)
    assert total(stages[Stage.RECORDING]) == (3, 0.0)
    assert total(stages[Stage.TOTAL]) == (3, 21.0)
    assert stages[Stage.RUNNING].counts[0] == 1


def test_a_try_given_back_or_retried_waits_anew() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(a_spec(retries=1))
    bench.turn(1.0)
    (one,) = manager.assigned()
    bench.now += 10.0
    manager.report(ended(one, Status.RAISED))
    bench.turn()
    (again,) = manager.assigned()
    assert total(of(bench).stages[Stage.QUEUED]) == (2, 1.0)
    assert sum(of(bench).stages[Stage.TOTAL].counts) == 0
    bench.now += 1.0
    manager.report(done(again))
    bench.turn()
    assert total(of(bench).stages[Stage.ASSIGNED]) == (2, 11.0)
    assert total(of(bench).stages[Stage.TOTAL]) == (1, 12.0)


def test_queued_assigned_and_held_back_are_all_open_tasks() -> None:
    bench = Bench()
    client = bench.client()
    first, _ = client.call(bodies=[b"1", b"2"])
    client.call(needs=[[first]])
    bench.turn(3.0)
    before = of(bench)
    assert (before.queued, before.assigned, before.held_back) == (2, 0, 1)
    assert before.oldest_seconds == pytest.approx(3.0)
    bench.manager(workers=1)
    bench.turn()
    after = of(bench)
    assert after.assigned >= 1
    assert after.queued + after.assigned + after.held_back == 3


def test_the_oldest_queued_task_is_the_first_of_any_line_that_still_waits() -> None:
    bench = Bench()
    early, late = bench.client(1), bench.client(2)
    (first,) = early.call()
    bench.turn(2.0)
    late.call()
    assert of(bench).oldest_seconds == pytest.approx(2.0)
    early.say(client_wire.Cancel([first]))
    bench.turn(1.0)
    assert of(bench).oldest_seconds == pytest.approx(1.0)


@WAYS
def test_losses_are_counted_by_reason_and_survive(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=2)
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    one, _ = manager.assigned()
    manager.report(ended(one, Status.LOST))
    manager.say(manager_wire.Leave("enough"))
    bench.turn()
    expected = {Loss.WORKER.value: 1, Loss.LEFT.value: 1}
    assert of(bench).counters.losses == expected
    read_again(bench, how)
    read_again(bench, how)
    counters = of(bench).counters
    assert counters.losses == expected
    assert counters.lost == sum(expected.values())


@WAYS
def test_silence_and_lateness_are_counted_and_survive_a_kill(how: str) -> None:
    bench = Bench(heartbeat=1.0)
    client, silent = bench.client(), bench.manager("silent")
    client.call(a_spec(retries=5))
    bench.turn()
    (one,) = silent.assigned()
    silent.report(ended(one, Status.RAISED))
    bench.turn()
    for _ in range(8):
        client.say(client_wire.Ping())
        bench.turn(0.5)
    silent.back()
    silent.report(done(one))
    read_again(bench, how)
    counters = of(bench).counters
    assert counters.losses == {Loss.SILENT.value: 1}
    assert (counters.retried, counters.lost, counters.late) == (1, 1, 1)


@WAYS
def test_stages_and_managers_figures_survive_when_they_were_journaled(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call()
    bench.turn(1.0)
    manager.report(*(done(one) for one in manager.assigned()))
    tally(manager, restarts=3, out_of_memory=2, output_dropped_bytes=1000)
    bench.turn(1.0)
    bench.turn()
    before = of(bench)
    for entry in compaction.snapshot(bench.state):
        bench.log.append(entries.encode(entry))
    bench.log.commit(sync=False)
    read_again(bench, how)
    after = of(bench)
    assert after.stages == before.stages
    assert after.counters == before.counters
    assert after.counters.out_of_memory == 2


def test_a_manager_that_joins_another_interchange_is_not_counted_twice() -> None:
    bench = Bench()
    manager = bench.manager()
    tally(manager, restarts=3)
    tally(manager, restarts=4, output_dropped_bytes=7)
    manager.back(peer=b"another connection")
    tally(manager, restarts=4, output_dropped_bytes=7)
    assert (of(bench).counters.restarts, of(bench).counters.output_dropped_bytes) == (4, 7)
    bench.restart()
    manager.say(msgspec.structs.replace(manager.join, tally=manager_wire.Tally(4, 0, 7)))
    tally(manager, restarts=5, output_dropped_bytes=7)
    assert (of(bench).counters.restarts, of(bench).counters.output_dropped_bytes) == (1, 0)


def test_what_a_manager_makes_up_does_no_harm() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    for counted in (2**63, 0, 2**63, 0, 2**63, -5):
        tally(manager, restarts=counted, output_dropped_bytes=counted)
    manager.say(manager_wire.Heartbeat(-7, 1, 0))
    assert of(bench).busy == 0
    client.call(bodies=[b"1", b"2", b"3"])
    for seconds in (math.nan, -1.0, math.inf):
        bench.turn()
        manager.report(*(done(one, seconds=seconds) for one in manager.assigned()))
    bench.turn()
    assert math.isfinite(of(bench).stages[Stage.RUNNING].sum)
    for entry in compaction.snapshot(bench.state):
        assert entries.decode(entries.encode(entry)) == entry


def test_an_entry_of_before_losses_were_told_apart_is_read() -> None:
    old = msgspec.msgpack.encode([12, "default", 9, 4, 3, 2, 1, 6, 5])
    entry = entries.decode(old)
    assert isinstance(entry, entries.PoolCounted)
    assert (entry.lost, entry.losses, entry.stages) == (6, {}, {})
    bench = Bench()
    bench.forget_since([old])
    assert of(bench).counters == Counters(9, 4, 3, 2, 1, 6, 5)


def test_a_figure_taken_does_not_change_any_more() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    before = of(bench)
    client.call()
    bench.turn()
    manager.report(*(ended(one, Status.LOST) for one in manager.assigned()))
    bench.turn()
    assert (before.counters.submitted, before.counters.losses, sum(before.stages[Stage.QUEUED].counts)) == (0, {}, 0)


def test_buckets_take_what_is_at_most_their_bound() -> None:
    histogram = Histogram()
    for bound in BOUNDS:
        histogram.add(bound)
    histogram.add(BOUNDS[-1] * 2, 5)
    assert histogram.counts == [1] * len(BOUNDS) + [5]
    histogram.add(0.0, 2)
    assert histogram.counts[0] == 3


def test_other_buckets_in_the_journal_begin_anew() -> None:
    found = restored(
        {"queued": Histogram([1, 2], 3.0), "total": Histogram([7] * (len(BOUNDS) + 1), 1.0), "new": Histogram()}
    )
    assert sum(found.queued.counts) == 0
    assert found.total.counts[0] == 7
