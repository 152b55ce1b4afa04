"""Answers that wait for a run's end: they come with it, or when whoever asked has waited long enough."""

import pytest

from blockyard.ids import SessionId
from blockyard.wire import client as wire
from blockyard.wire import control, hosted
from blockyard_interchange.core import sessions, timers
from tests.unit.interchange.builders import Bench, Client, Manager, done
from tests.unit.interchange.test_hosted import CHAIN, RUN

PATIENCE = 10.0
WAITING = hosted.Run(RUN, limit=0, patience=PATIENCE)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def begun(bench: Bench) -> tuple[Client, Manager]:
    """A run of two steps that were handed out, and a question that waits for its end."""
    client, manager = bench.client(), bench.manager()
    client.ask(CHAIN, control.Done)
    bench.turn()
    client.begin(WAITING)
    assert client.heard(wire.Reply) == []
    return client, manager


def test_the_answer_comes_with_the_last_result(bench: Bench) -> None:
    client, manager = begun(bench)
    first, second = manager.assigned()
    manager.report(done(first))
    bench.turn()
    assert client.heard(wire.Reply) == []
    manager.report(done(second))
    bench.turn()
    line = client.answered(hosted.RunIs).line
    assert (line.phase, line.counts) == ("Succeeded", {"Succeeded": 2})
    bench.turn()
    assert client.heard(wire.Reply) == []


def test_it_comes_when_it_has_waited_long_enough_and_the_interchange_wakes_for_it(bench: Bench) -> None:
    client, _ = begun(bench)
    bench.state.next_sweep = bench.now + 2 * PATIENCE
    assert timers.next_wake(bench.state, bench.now) == pytest.approx(PATIENCE)
    bench.turn(PATIENCE)
    assert client.answered(hosted.RunIs).line.phase == "Running"


def test_nobody_waits_for_a_run_that_has_ended_or_is_not_there(bench: Bench) -> None:
    client, manager = begun(bench)
    manager.report(*(done(one) for one in manager.assigned()))
    bench.turn()
    client.answered(hosted.RunIs)
    assert client.ask(WAITING, hosted.RunIs).line.phase == "Succeeded"
    assert "none of this name" in client.ask(hosted.Run("other", patience=PATIENCE), control.Unknown).message


def test_who_went_away_hears_nothing_and_asks_again(bench: Bench) -> None:
    client, manager = begun(bench)
    sessions.detach(bench.state, bench.state.sessions[SessionId(client.session)])
    bench.turn()
    assert not bench.state.asked.run_ends
    client.say(client.hello)
    client.begin(WAITING)
    manager.report(*(done(one) for one in manager.assigned()))
    bench.turn()
    assert client.answered(hosted.RunIs).line.phase == "Succeeded"


def test_of_too_many_that_wait_the_next_is_answered_at_once(bench: Bench) -> None:
    client, _ = begun(bench)
    kept = bench.state.asked.run_ends
    (one,) = kept.values()
    kept.update({(SessionId(client.session), number): one for number in range(100, 163)})
    assert client.ask(WAITING, hosted.RunIs).line.phase == "Running"
