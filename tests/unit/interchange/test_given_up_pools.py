"""Tasks of a pool that its keeper gave up fail with the reason, wherever they were."""

import pytest

from blockyard.ending import Ending
from blockyard.errors import BlockyardError, ConfigError, PoolFailed, RequestTooLarge
from blockyard.session.endings import ending_of
from blockyard.wire import control
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Failure, Outcome, Status
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Client, a_spec, done, ended, joined

WHY = "mend the image; all 3 blocks so far failed"
GIVE_UP = control.CancelMatching("bad", given_up=WHY)


def a_bench() -> tuple[Bench, Client, Client]:
    bench = Bench(pools={"bad": PoolSettings(nodes_per_block=3), "good": PoolSettings()})
    return bench, bench.client(), bench.client(99, user="keeper:operator")


def test_waiting_and_running_tasks_fail_at_once_and_those_of_other_pools_do_not() -> None:
    bench, client, keeper = a_bench()
    manager = bench.manager(pool="bad")
    tasks = client.call(a_spec(pool="bad", retries=3), [b"x"] * 3)
    (other,) = client.call(a_spec(pool="good"))
    bench.turn()
    (one, *_) = manager.assigned()
    assert keeper.ask(GIVE_UP, control.Done).count == 3
    found = client.outcomes()
    assert sorted(outcome.task for outcome in found) == tasks
    assert {outcome.status for outcome in found} == {Status.REFUSED}
    assert one.task in [lease.task for stop in manager.heard(manager_wire.Stop) for lease in stop.leases]
    manager.report(ended(one, Status.CANCELLED))
    bench.turn()
    assert not client.outcomes()
    assert bench.task(other).outcome is None
    assert bench.state.pools["bad"].counters.failed == 3


def test_the_future_says_why_after_a_restart_too() -> None:
    bench, client, keeper = a_bench()
    (task,) = client.call(a_spec(pool="bad"))
    keeper.ask(GIVE_UP, control.Done)
    bench.restart()
    outcome = bench.task(task).outcome
    assert outcome is not None
    how, error = ending_of(outcome, None)
    assert how is Ending.EXCEPTION
    assert isinstance(error, PoolFailed)
    assert str(error).endswith(f": pool bad was given up: {WHY}")
    explained = bench.client().ask(control.Task(task), control.TaskIs)
    assert WHY in " ".join(explained.sentences)


def test_what_was_cancelled_before_ends_as_that() -> None:
    bench, client, keeper = a_bench()
    manager = bench.manager(pool="bad")
    (task,) = client.call(a_spec(pool="bad"))
    bench.turn()
    (one,) = manager.assigned()
    keeper.ask(control.CancelTasks([task]), control.Done)
    keeper.ask(GIVE_UP, control.Done)
    manager.report(ended(one, Status.CANCELLED))
    bench.turn()
    assert [outcome.status for outcome in client.outcomes()] == [Status.CANCELLED]


def test_wide_tasks_and_those_that_left_calls_fail_too() -> None:
    bench, client, keeper = a_bench()
    managers = [bench.manager(name, pool="bad", block="b") for name in ("m1", "m2", "m3")]
    (left,) = client.call(a_spec(pool="bad"))
    bench.turn()
    first = next(one for one in managers if one.inbox)
    (one,) = first.assigned()
    first.report(joined(one, b"x", pool="bad"))
    (wide,) = client.call(a_spec(pool="bad", nodes=2))
    bench.turn()
    keeper.ask(GIVE_UP, control.Done)
    bench.turn()
    found = {outcome.task: outcome.status for outcome in client.outcomes()}
    assert found == dict.fromkeys((left, wide), Status.REFUSED)
    assert not bench.state.gangs


def test_managers_that_come_after_all_get_what_is_submitted_then() -> None:
    bench, client, keeper = a_bench()
    client.call(a_spec(pool="bad"))
    keeper.ask(GIVE_UP, control.Done)
    (task,) = client.call(a_spec(pool="bad"))
    manager = bench.manager(pool="bad")
    bench.turn()
    (one,) = manager.assigned()
    manager.report(done(one))
    bench.turn()
    assert [outcome.status for outcome in client.outcomes() if outcome.task == task] == [Status.DONE]


def test_only_a_keeper_gives_a_pool_up() -> None:
    bench, client, _ = a_bench()
    (task,) = client.call(a_spec(pool="bad"))
    refused = client.is_refused(GIVE_UP)
    assert (refused.kind, refused.message) == ("key", "given_up: only a keeper gives pools up, client:me is none")
    assert bench.task(task).outcome is None


def test_who_watches_a_pools_demand_gives_it_up_and_no_other() -> None:
    _, client, _ = a_bench()
    (task,) = client.call(a_spec(pool="bad"))
    client.ask(control.Watch("good"), control.Demand)
    assert client.is_refused(GIVE_UP).kind == "key"
    client.ask(control.Watch("bad"), control.Demand)
    assert client.ask(GIVE_UP, control.Done).count == 1
    assert [outcome.task for outcome in client.outcomes()] == [task]


@pytest.mark.parametrize(
    "types, kind",
    [
        ([], RequestTooLarge), (["blockyard.errors.ConfigError"], ConfigError),
        (["blockyard.errors.PoolFailed"], PoolFailed), (["builtins.ValueError"], RequestTooLarge),
    ],
)  # fmt: skip
def test_what_can_never_run_ends_with_the_error_that_it_names(types: list[str], kind: type[BlockyardError]) -> None:
    how, error = ending_of(Outcome(7, 1, Status.REFUSED, failure=Failure("why", types)), None)
    assert (how, type(error), str(error)) == (Ending.EXCEPTION, kind, "task 0-7: why")
