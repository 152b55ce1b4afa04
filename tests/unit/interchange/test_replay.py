"""What another process reads from the journal, compacted or not."""

import pytest

from blockyard.ids import FunctionId, SessionId, TaskId
from blockyard.wire import client as wire
from blockyard.wire.records import Assigned, Status
from blockyard_interchange.core.settings import PoolSettings, Settings
from tests.unit.interchange.builders import Bench, Manager, a_function, a_spec, done, ended, joined, lease


def finish(bench: Bench, manager: Manager, body: bytes = b"y") -> None:
    bench.turn()
    manager.report(*(done(one, body) for one in manager.assigned()))
    bench.turn()


def read_again(bench: Bench, how: str) -> None:
    """Restart from the journal as it is, or after every chunk of it was rewritten, or the oldest alone."""
    bench.turn()
    match how:
        case "as written":
            pass
        case "compacted":
            bench.compact_all()
        case "in part":
            bench.compact_oldest()
        case "twice":
            bench.compact_all()
            bench.compact_all()
    bench.restart()


WAYS = pytest.mark.parametrize("how", ["as written", "compacted", "in part", "twice"])


@WAYS
def test_every_accepted_task_is_there_with_its_result_or_queued(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (first,) = client.call()
    finish(bench, manager, b"result")
    (second,) = client.call(bodies=[b"arguments"])
    read_again(bench, how)
    outcome = bench.task(first).outcome
    assert outcome is not None
    assert outcome.body == b"result"
    assert bench.task(second).body == b"arguments"
    assert bench.state.pools["default"].queue.size == 1


@WAYS
def test_an_ended_task_keeps_its_result_though_what_it_needed_is_freed(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (first,) = client.call()
    (second,) = client.call(needs=[[first]])
    finish(bench, manager, b"right")
    client.collect([first])
    read_again(bench, how)
    outcome = bench.task(second).outcome
    assert outcome is not None
    assert (outcome.status, outcome.body) == (Status.DONE, b"right")


@WAYS
def test_a_key_that_was_used_before_and_freed_does_not_answer_for_a_new_task(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (old,) = client.call(keys=["fit"])
    finish(bench, manager, b"old")
    client.collect([old])
    bench.turn()
    (new,) = client.call(keys=["fit"])
    (shadow,) = client.call(keys=["fit"])
    read_again(bench, how)
    assert bench.task(new).outcome is None
    assert bench.task(shadow).needs == (bench.task(new),)


@WAYS
def test_a_function_lives_as_long_as_a_task_that_calls_it(how: str) -> None:
    bench = Bench(heartbeat=1.0, client_grace=2.0, result_ttl=1e6)
    client, manager = bench.client(keep=True, run="r"), bench.manager()
    client.call()
    finish(bench, manager)
    client.say(wire.Bye(cancel=False))
    read_again(bench, how)
    read_again(bench, how)
    assert FunctionId(a_function().id) in bench.state.functions


@WAYS
def test_a_function_registered_anew_is_journaled_anew(how: str) -> None:
    bench = Bench(heartbeat=1.0, client_grace=1.0)
    bench.client(1).say(wire.Bye(cancel=True))
    for _ in range(10):
        bench.turn(0.4)
    assert not bench.state.functions
    bench.compact_all()
    second = bench.client(2)
    (task,) = second.call()
    read_again(bench, how)
    assert bench.task(task).order.entry.function == a_function()


@WAYS
def test_tries_are_counted_right_whatever_was_rewritten(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call(a_spec(retries=9))
    for _ in range(3):
        bench.turn()
        (one,) = manager.assigned()
        manager.report(ended(one, Status.RAISED))
        bench.turn()
    read_again(bench, how)
    assert bench.task(task).failures == 3


@WAYS
def test_counters_go_on_where_they_were(how: str) -> None:
    bench = Bench(pools={"default": PoolSettings(), "other": PoolSettings()})
    client, manager = bench.client(), bench.manager(pool="other")
    client.call(a_spec(pool="other"), [b""] * 3)
    finish(bench, manager)
    (gone,) = client.call()
    client.say(wire.Cancel([gone]))
    read_again(bench, how)
    read_again(bench, how)
    other, default = (bench.state.pools[name].counters for name in ("other", "default"))
    assert (other.submitted, other.done, default.submitted, default.cancelled) == (3, other.done, 1, 1)
    assert other.done >= 1


@WAYS
def test_names_of_children_are_never_used_twice(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    names: set[int] = set()
    for _ in range(3):
        (task,) = client.call()
        bench.turn()
        (one,) = manager.assigned()
        manager.report(joined(one, b"1", b"2"))
        bench.turn()
        children = {child.task for child in manager.assigned()}
        assert not names & children
        names |= children
        manager.report(*(done(bench_one) for bench_one in _again(bench, children)))
        bench.turn()
        client.collect([task])
        bench.turn()
        read_again(bench, how)
        client.say(client.hello)
        client.say(wire.Register([a_function()]))
        manager.say(manager.join)


def _again(bench: Bench, names: set[int]) -> list[Assigned]:
    return [Assigned(name, bench.task(name).epoch, b"") for name in sorted(names)]


@WAYS
def test_children_of_a_join_that_failed_are_nobodys_after_a_restart(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=2)
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(joined(one, b"1", b"2"))
    bench.turn()
    first, second = manager.assigned()
    manager.report(ended(first, Status.RAISED))
    bench.turn()
    client.outcomes()
    client.collect([task])
    read_again(bench, how)
    assert set(bench.state.tasks) <= {TaskId(second.task)}
    client.say(client.hello)
    client.say(wire.Reattach(1))
    bench.turn()
    assert [attached.tasks for attached in client.heard(wire.Attached)] == [[]]


@WAYS
def test_a_parent_that_joined_waits_for_its_children_and_not_for_what_it_needed(how: str) -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=2)
    (need,) = client.call()
    (task,) = client.call(needs=[[need]])
    bench.turn()
    first, one = manager.assigned()
    manager.report(done(first), joined(one, b"1", b"2"))
    bench.turn()
    client.collect([need])
    read_again(bench, how)
    assert bench.task(task).waiting == 2
    assert bench.task(task).state.name == "JOINING"


def test_tasks_of_a_pool_in_memory_end_with_the_interchange_and_are_counted() -> None:
    bench = Bench(pools={"default": PoolSettings(durability="memory")})
    client = bench.client()
    client.call(bodies=[b""] * 3)
    bench.turn()
    bench.compact_all()
    bench.restart()
    counters = bench.state.pools["default"].counters
    assert counters.submitted == counters.failed
    assert not bench.state.tasks


def test_a_pool_that_is_gone_from_the_settings_keeps_its_tasks() -> None:
    bench = Bench(pools={"default": PoolSettings(), "old": PoolSettings()})
    client = bench.client()
    (task,) = client.call(a_spec(pool="old"))
    bench.turn()
    bench.settings = Settings(pools={"default": PoolSettings()})
    bench.restart()
    client.say(client.hello)
    client.say(wire.Cancel([task]))
    bench.turn()
    assert [outcome.status for outcome in client.outcomes()] == [Status.CANCELLED]


def test_the_journal_shrinks_to_what_is_live() -> None:
    bench = Bench(floor_bytes=20_000)
    client, manager = bench.client(), bench.manager()
    for _ in range(300):
        tasks = client.call(bodies=[b"x" * 500] * 4)
        for _ in range(4):
            finish(bench, manager, b"r" * 200)
        client.collect(tasks, frames=4)
        bench.turn()
    assert bench.log.size_bytes() < 60_000
    bench.restart()
    assert SessionId(1) in bench.state.sessions
    assert bench.state.sessions[SessionId(1)].accepted == 300
    assert bench.state.pools["default"].counters.done == 1200


def test_a_name_given_by_an_interchange_that_died_is_not_taken_for_another_child() -> None:
    bench = Bench()
    client, manager, other = bench.client(), bench.manager("m1"), bench.manager("m2")
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    (first,), (second,) = manager.assigned(), other.assigned()
    committed = [entry for number in range(*bench.store.bounds()) for entry in bench.log.entries(number)]
    manager.report(joined(first, b"child of the first"))
    bench.turn()
    lost = [one for peer in (manager, other) for one in peer.assigned()]
    bench.forget_since(committed)
    other.back(lease(second))
    other.report(joined(second, b"child of the second"))
    bench.turn()
    manager.back(*(lease(one) for one in lost))
    assert [name for name in bench.state.tasks if bench.task(name).manager is not None and name == lost[0].task] == []
    assert bench.task(lost[0].task).body == b"child of the second"
