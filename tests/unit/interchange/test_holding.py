"""Who is told to stop the programs of a task, and what whoever asked hears."""

import msgspec

from blockyard.wire import client as client_wire
from blockyard.wire import control
from blockyard.wire import manager as wire
from tests.unit.interchange.builders import Bench, Client, Manager, done
from tests.unit.interchange.test_rights import Two


def hold(client: Client, task: int, *, held: bool = True) -> None:
    """Send the order."""
    client.say(client_wire.Ask(5, msgspec.Raw(msgspec.msgpack.encode(control.HoldTask(task, held)))))
    client.bench.turn()


def answer(client: Client) -> control.Answer | None:
    """What has been answered, None when nothing has."""
    client.bench.turn()
    replies = client.heard(client_wire.Reply)
    return msgspec.msgpack.decode(replies[-1].answer, type=control.Answer) if replies else None


def reason(client: Client) -> str:
    """Why it was not done."""
    found = answer(client)
    assert isinstance(found, control.Unknown), found
    return found.message


def running() -> tuple[Client, Manager, int]:
    """A client, and a manager that has its task."""
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    (task,) = client.call()
    bench.turn()
    return client, manager, task


def test_the_manager_that_has_it_is_told_and_its_answer_passed_on() -> None:
    client, manager, task = running()
    (given,) = manager.assigned()
    for held in (True, False):
        hold(client, task, held=held)
        (order,) = manager.heard(wire.Hold)
        assert (order.task, order.epoch, order.held) == (task, given.epoch, held)
        manager.say(wire.Held(order.number + 1, 1))
        assert answer(client) is None, "that answers another question"
        manager.say(wire.Held(order.number, 2))
        assert answer(client) == control.Done(2)


def test_why_a_worker_refuses_is_passed_on() -> None:
    client, manager, task = running()
    hold(client, task)
    (order,) = manager.heard(wire.Hold)
    manager.say(wire.Held(order.number, 0, "it runs no managed task"))
    assert "runs no managed task" in reason(client)


def test_what_waits_what_has_ended_and_what_is_unknown_is_refused_at_once() -> None:
    bench = Bench()
    client = bench.client()
    (task,) = client.call()
    hold(client, task)
    assert "waits" in reason(client)
    hold(client, 4711 << 32)
    assert "never submitted" in reason(client)
    manager = bench.manager()
    bench.turn()
    (given,) = manager.assigned()
    manager.report(done(given))
    bench.turn()
    hold(client, task)
    assert "ended" in reason(client)
    assert manager.heard(wire.Hold) == []


def test_a_manager_that_is_gone_is_not_waited_for() -> None:
    client, manager, task = running()
    hold(client, task)
    manager.say(wire.Leave("over"))
    assert "gone" in reason(client)


def test_of_a_task_that_it_may_not_see_a_client_learns_nothing() -> None:
    two = Two()
    hold(two.anna, two.of_b)
    assert "never submitted" in reason(two.anna)
    assert two.managers["b"].heard(wire.Hold) == []
