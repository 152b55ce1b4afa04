"""Clients that say goodbye or fall silent: what becomes of their tasks, and what they may come back to."""

import msgspec
import pytest

from blockyard.wire import client as wire
from blockyard.wire.records import Status
from blockyard_interchange.core import entries, reactor
from tests.unit.interchange.builders import Bench, a_spec
from tests.unit.interchange.test_sessions import come_back, finish


def test_a_client_that_vanishes_takes_its_tasks_along_after_a_while() -> None:
    bench = Bench(heartbeat=1.0, client_grace=5.0)
    client = bench.client()
    client.call()
    for _ in range(40):
        bench.turn(0.25)
    assert not bench.state.tasks
    assert not bench.state.sessions
    assert not bench.state.functions
    assert not bench.state.runs


def test_a_client_that_asked_for_it_finds_its_run_again() -> None:
    bench = Bench(heartbeat=1.0, client_grace=5.0, result_ttl=1000.0)
    client, manager = bench.client(keep=True, run="r"), bench.manager()
    (task,) = client.call()
    for _ in range(40):
        manager.beat()
        bench.turn(0.25)
    finish(bench, manager)
    heir = bench.client(2, run="r", take_over=True)
    heir.say(wire.Reattach(1))
    bench.turn()
    assert [outcome.task for outcome in heir.outcomes()] == [task]


def test_results_that_nobody_collects_are_kept_so_long_and_no_longer() -> None:
    bench = Bench(heartbeat=1.0, client_grace=1.0, result_ttl=20.0)
    client, manager = bench.client(keep=True), bench.manager()
    client.call()
    finish(bench, manager)
    client.say(wire.Bye(cancel=False))
    for seconds in range(30):
        manager.beat()
        bench.turn(0.9)
        assert bool(bench.state.tasks) is (seconds < 22), f"after {seconds} s"


def test_one_client_leaving_ends_nothing_of_another_that_is_still_on_its_way_back() -> None:
    bench = Bench()
    staying, leaving = bench.client(1, run="r"), bench.client(2, run="r")
    (task,) = staying.call()
    bench.turn()
    bench.restart()
    leaving.say(leaving.hello)
    leaving.say(wire.Bye(cancel=False))
    bench.turn()
    assert bench.task(task).outcome is None


def test_what_another_run_needs_outlives_the_client_that_began_it() -> None:
    bench = Bench(heartbeat=1.0, client_grace=2.0)
    client, other, manager = bench.client(1), bench.client(2), bench.manager()
    client.call(keys=["fit"])
    other.call(keys=["fit"])
    client.say(wire.Bye(cancel=True))
    finish(bench, manager)
    assert [outcome.status for outcome in other.outcomes()] == [Status.DONE]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_client_that_comes_back_after_it_was_given_up_is_told_and_repeats_nothing(*, restarts: bool) -> None:
    bench = Bench(heartbeat=1.0, client_grace=2.0)
    client = bench.client()
    client.call(a_spec(idempotent=False))
    for _ in range(30):
        bench.turn(0.25)
    assert entries.SessionGivenUp(1) in bench.entries
    if restarts:
        bench.compact_all()
        bench.restart()
    client.inbox.clear()
    come_back(client)
    bench.turn()
    (refused,) = client.heard(wire.Refused)
    assert "given up" in refused.message
    assert not bench.state.sessions


def test_nobody_goes_on_with_a_session_that_said_goodbye_and_whose_task_numbers_stand_in_the_journal() -> None:
    bench = Bench(heartbeat=1.0, client_grace=2.0)
    client, manager = bench.client(), bench.manager()
    client.call()
    finish(bench, manager)
    client.outcomes()
    client.say(wire.Bye(cancel=True))
    for _ in range(30):
        bench.turn(0.25)
    assert not bench.state.sessions
    come_back(client)
    bench.turn()
    (refused,) = client.heard(wire.Refused)
    assert "said goodbye" in refused.message


def test_one_that_submitted_nothing_may_come_back_in_another_run() -> None:
    bench = Bench(heartbeat=1.0, client_grace=2.0)
    client = bench.client(1, run="first")
    client.say(wire.Bye(cancel=True))
    other = bench.client(2, run="first")
    for _ in range(30):
        other.say(wire.Ping())
        bench.turn(0.25)
    client.say(msgspec.structs.replace(client.hello, run="second"))
    bench.turn()
    bench.restart()
    assert {name: set(run.sessions) for name, run in bench.state.runs.items()} == {"first": {2}, "second": {1}}


def test_a_client_that_comes_back_while_its_last_task_is_being_ended_is_told_too() -> None:
    bench = Bench(heartbeat=1.0, client_grace=2.0)
    client, manager = bench.client(), bench.manager()
    client.call(bodies=[b"1", b"2", b"3"])
    bench.turn()
    assert manager.assigned()
    for _ in range(30):
        manager.beat()
        bench.turn(0.25)
    assert bench.state.sessions, "a manager has not said yet that the last task ended"
    client.inbox.clear()
    come_back(client)
    bench.turn()
    assert len(client.heard(wire.Refused)) == 1


def test_nobody_is_given_up_while_clients_are_not_read() -> None:
    bench = Bench(heartbeat=1.0, client_grace=2.0)
    client = bench.client()
    (task,) = client.call()
    bench.turn()
    for _ in range(100):
        bench.now += 0.5
        reactor.turn(bench.state, bench.now, hears_clients=False)
    assert bench.task(task).outcome is None
