"""A task that leaves calls to be done: its slot is free, and it ends as they do."""

import pytest

from blockyard.wire import client as client_wire
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Bundle, Calls, Group, Outcome, Status, TaskSpec
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, a_function, done, ended, joined


def test_a_join_frees_its_slot_and_ends_with_its_childrens_results() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(joined(one, b"1", b"2"))
    bench.turn()
    children = manager.assigned()
    assert len(children) == 2, "one worker: the first child, and another one ahead"
    manager.report(*(done(child, child.body + b"!" if isinstance(child.body, bytes) else b"") for child in children))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.task == task
    assert outcome.body == Bundle([b"1!", b"2!"])
    client.collect([task])
    bench.turn()
    assert not bench.state.tasks


def test_a_join_of_nothing_is_done_at_once() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(Outcome(one.task, one.epoch, Status.JOIN, b"", 0.0, None, Calls([], [a_function("unused")])))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.body == Bundle([])


def test_a_failed_child_fails_its_join_while_its_siblings_go_on_for_nobody() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=2)
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(joined(one, b"1", b"2"))
    bench.turn()
    first, second = manager.assigned()
    manager.report(ended(first, Status.RAISED, message="no luck"))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.status is Status.DEPENDENCY
    assert outcome.failure is not None
    assert "no luck" in outcome.failure.message
    client.collect([task])
    bench.turn()
    assert bench.state.tasks, "the sibling runs on"
    manager.report(done(second))
    bench.turn()
    assert not bench.state.tasks


def test_cancelling_a_join_stops_the_children_that_run() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(joined(one, b"1", b"2", b"3"))
    bench.turn()
    children = manager.assigned()
    client.say(client_wire.Cancel([task]))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.status is Status.CANCELLED
    stopped = [name.task for stop in manager.heard(manager_wire.Stop) for name in stop.leases]
    assert sorted(stopped) == sorted(child.task for child in children)
    manager.report(*(ended(child, Status.CANCELLED) for child in children))
    client.collect([task])
    bench.turn()
    assert not bench.state.tasks


def test_a_cancel_that_crosses_a_join_wins() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    client.say(client_wire.Cancel([task]))
    manager.report(joined(one, b"1"))
    bench.turn()
    assert [outcome.status for outcome in client.outcomes()] == [Status.CANCELLED]
    assert manager.assigned() == []


@pytest.mark.parametrize(
    "calls, sentence",
    [
        (Calls([Group(TaskSpec(a_function("g").id, "other"), 0, [b""])], [a_function("g")]), "pool 'other' was named"),
        (Calls([Group(TaskSpec(a_function("g").id), 0, [b""])], []), "was not registered"),
        (Calls([Group(TaskSpec(a_function("g").id, cores=1e6), 0, [b""])], [a_function("g")]), "the largest that fits"),
        (Calls([Group(TaskSpec(a_function("g").id, cores=float("nan")), 0, [b""])], [a_function("g")]), "cores=nan"),
    ],
)
def test_a_join_that_asks_for_what_it_may_not_have_is_refused_alone(calls: Calls, sentence: str) -> None:
    bench = Bench(pools={"default": PoolSettings(), "other": PoolSettings()})
    client, manager = bench.client(), bench.manager()
    client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(Outcome(one.task, one.epoch, Status.JOIN, b"", 0.0, None, calls))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.status is Status.REFUSED
    assert outcome.failure is not None
    assert sentence in outcome.failure.message
    assert len(bench.state.functions) == 1
