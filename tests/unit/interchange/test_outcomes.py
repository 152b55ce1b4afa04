"""What happens when a try ends: well, badly, twice, too late, or with its worker."""

import pytest

from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Blob, Group, Status
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, a_spec, done, ended, lease


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


def test_a_poison_task_is_given_up_after_so_many_workers_and_says_so() -> None:
    bench = Bench(pools={"default": PoolSettings(max_losses=3)})
    client, manager = bench.client(), bench.manager()
    client.call()
    for _ in range(3):
        bench.turn()
        (one,) = manager.assigned()
        manager.report(ended(one, Status.LOST, message="segmentation fault"))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.status is Status.LOST
    assert outcome.failure is not None
    assert "lost its worker 3 times" in outcome.failure.message
    assert "run it alone" in outcome.failure.message
    assert "segmentation fault" in outcome.failure.message


@pytest.mark.parametrize(
    "retry_on, types, is_retried",
    [
        ((), ["a.Mine", "builtins.ValueError"], True),
        (("a.Mine",), ["a.Mine", "builtins.ValueError"], True),
        (("ValueError",), ["a.Mine", "builtins.ValueError", "builtins.Exception"], True),
        (("builtins.ValueError",), ["a.Mine", "builtins.ValueError"], True),
        (("KeyError",), ["a.Mine", "builtins.ValueError"], False),
        (("b.Mine",), ["a.Mine"], False),
    ],
)
def test_retry_on_compares_names_along_the_exceptions_classes(
    retry_on: tuple[str, ...], types: list[str], *, is_retried: bool
) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(a_spec(retries=1, retry_on=retry_on))
    bench.turn()
    (one,) = manager.assigned()
    manager.report(ended(one, Status.RAISED, *types))
    bench.turn()
    assert bool(manager.assigned()) is is_retried
    assert bool(client.outcomes()) is not is_retried


@pytest.mark.parametrize(
    "status, name", [(Status.TIMEOUT, "TaskTimeout"), (Status.OUT_OF_MEMORY, "blockyard.errors.OutOfMemory")]
)
@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_limit_that_ended_a_try_is_known_by_what_its_future_raises(
    status: Status, name: str, *, is_wanted: bool
) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(a_spec(retries=1, retry_on=(name if is_wanted else "KeyError",)))
    bench.turn()
    (one,) = manager.assigned()
    manager.report(ended(one, status))
    bench.turn()
    assert bool(manager.assigned()) is is_wanted


def test_back_off_doubles_and_the_last_failure_is_the_users() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(a_spec(retries=2, backoff=1.0))
    for pause in (1.0, 2.0):
        bench.turn()
        (one,) = manager.assigned()
        manager.report(ended(one, Status.RAISED, "builtins.ValueError"))
        bench.turn(pause - 0.01)
        assert manager.assigned() == []
        bench.turn(0.02)
    (one,) = manager.assigned()
    manager.report(ended(one, Status.RAISED, "builtins.ValueError"))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.status is Status.RAISED
    assert bench.state.pools["default"].counters.retried == 2


def test_a_back_off_after_a_thousand_failures_is_still_a_number() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call(a_spec(retries=10_000, backoff=1e-9))
    bench.turn()
    (one,) = manager.assigned()
    bench.task(task).failures = 5_000
    manager.report(ended(one, Status.RAISED))
    bench.turn()
    assert bench.task(task).failures == 5_001


def test_a_failed_dependency_fails_a_chain_of_ten_thousand_with_the_first_cause() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (first,) = client.call(a_spec(name="root"))
    client.next = 1
    group = Group(a_spec(), 1, [b""] * 10_000, [[client.task(number)] for number in range(10_000)])
    client.submit(group)
    bench.turn()
    one = next(one for one in manager.assigned() if one.task == first)
    manager.report(ended(one, Status.RAISED, "builtins.ZeroDivisionError", message="division by zero"))
    bench.turn()
    outcomes = client.outcomes()
    assert len(outcomes) == 10_001
    last = outcomes[-1]
    assert {outcome.status for outcome in outcomes[1:]} == {Status.DEPENDENCY}
    assert last.failure is not None
    assert "division by zero" in last.failure.message
    assert "root" in last.failure.message
    assert last.failure.types == ["builtins.ZeroDivisionError"]


def test_a_dependent_gets_the_results_in_order_wherever_they_were_made() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=2)
    first, second = client.call(bodies=[b"a", b"b"])
    (third,) = client.call(needs=[[second, first, second]])
    bench.turn()
    ones = {one.task: one for one in manager.assigned()}
    manager.report(done(ones[first], b"A"))
    bench.turn()
    manager.report(done(ones[second], b"B"))
    bench.turn()
    (last,) = [one for one in manager.assigned() if one.task == third]
    assert [need.body for need in last.needs] == [b"B", b"A", b"B"]


def test_a_need_that_is_not_known_fails_its_dependent_at_once() -> None:
    bench = Bench()
    client = bench.client()
    client.call(needs=[[client.task(0) - 1]])
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.status is Status.DEPENDENCY
    assert outcome.failure is not None
    assert "not known" in outcome.failure.message


# --------------------------------------------------------------------------------------------------------------- join


def test_a_stop_by_a_dead_interchange_is_no_cancelled_task() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(ended(one, Status.CANCELLED))
    bench.turn()
    assert client.outcomes() == []
    (again,) = manager.assigned()
    assert again.task == one.task


# -------------------------------------------------------------------------------------------------------------- blobs


def test_blobs_go_with_what_they_belong_to_and_once() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call(bodies=[Blob("arguments", 10)])
    bench.turn()
    (one,) = manager.assigned()
    manager.report(done(one, Blob("result", 20)))
    bench.turn()
    assert bench.unlinked == ["arguments"]
    client.collect([task])
    bench.turn()
    assert bench.unlinked == ["arguments", "result"]
    assert bench.state.bytes == 0


def test_a_blob_that_somebody_needs_stays_until_he_has_had_it() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    (other,) = client.call(needs=[[task]])
    manager.report(done(one, Blob("result", 20)))
    bench.turn()
    client.collect([task])
    bench.turn()
    assert bench.unlinked == []
    (one,) = manager.assigned()
    manager.report(done(one))
    bench.turn()
    assert bench.unlinked == ["result"]
    client.collect([other])
    bench.turn()
    assert not bench.state.tasks


# --------------------------------------------------------------------------------------------------- shadows of a key


def test_the_same_key_is_the_same_task() -> None:
    bench = Bench()
    client, other, manager = bench.client(1), bench.client(2), bench.manager()
    client.call(keys=["fit"])
    other.call(keys=["fit"])
    bench.turn()
    (one,) = manager.assigned()
    manager.report(done(one, b"model"))
    bench.turn()
    assert [outcome.body for outcome in client.outcomes()] == [b"model"]
    assert [outcome.body for outcome in other.outcomes()] == [b"model"]
    assert manager.assigned() == []


def test_a_shadow_never_travels_behind_the_task_that_holds_its_key() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(keys=["fit"])
    client.call(keys=["fit"])
    bench.turn()
    assert len(manager.assigned()) == 1


def test_a_key_is_free_again_when_its_task_is() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call(keys=["fit"])
    bench.turn()
    (one,) = manager.assigned()
    manager.report(done(one, b"old"))
    client.collect([task])
    bench.turn()
    client.call(keys=["fit"])
    bench.turn()
    assert len(manager.assigned()) == 1
    assert lease(one).task == task
