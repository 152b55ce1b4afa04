"""What happens when a try ends: well, badly, twice, too late, or with its worker."""

from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Status
from tests.unit.interchange.builders import Bench, a_spec, done, ended


def test_a_task_runs_and_its_result_is_told_and_freed() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(done(one, b"42"))
    bench.turn()
    (outcome,) = client.outcomes()
    assert (outcome.task, outcome.status, outcome.body) == (task, Status.DONE, b"42")
    bench.turn(1.0)
    assert [r.number for r in manager.heard(manager_wire.Recorded)] == [1]
    client.collect([task], frames=1)
    bench.turn()
    assert not bench.state.tasks


def test_a_result_that_comes_twice_is_recorded_once_and_the_other_counted() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(done(one, b"first"))
    manager.report(done(one, b"second"))
    bench.turn()
    assert [outcome.body for outcome in bench.recorded(task)] == [b"first"]
    assert [outcome.body for outcome in client.outcomes()] == [b"first"]
    assert bench.state.pools["default"].counters.late == 1


def test_a_lost_try_is_run_again_at_no_cost_to_the_user() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call(a_spec(retries=0))
    bench.turn()
    (first,) = manager.assigned()
    manager.report(ended(first, Status.LOST))
    bench.turn()
    (second,) = manager.assigned()
    assert second.epoch > first.epoch
    manager.report(done(first, b"late"), done(second, b"right"))
    bench.turn()
    assert [outcome.body for outcome in client.outcomes()] == [b"right"]
    assert bench.recorded(task)[0].body == b"right"


def test_a_lost_try_that_must_not_run_twice_ends_as_lost_with_the_evidence() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(a_spec(idempotent=False))
    bench.turn()
    (one,) = manager.assigned()
    manager.report(ended(one, Status.LOST, message="killed by SIGKILL"))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.status is Status.LOST
    assert outcome.failure is not None
    assert "not idempotent" in outcome.failure.message
    assert "SIGKILL" in outcome.failure.message
    assert manager.assigned() == []
