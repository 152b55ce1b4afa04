"""Who is asked what a task printed, and when the question is answered."""

import msgspec

from blockyard.wire import client as client_wire
from blockyard.wire import control
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Printed
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Client, Manager

TWO_POOLS = {"default": PoolSettings(workers=4), "other": PoolSettings()}


def ask(client: Client, task: int, number: int = 5) -> None:
    """Send the question."""
    client.say(client_wire.Ask(number, msgspec.Raw(msgspec.msgpack.encode(control.Output(task)))))
    client.bench.turn()


def answer(client: Client) -> list[str] | None:
    """What has been answered, None when nothing has."""
    client.bench.turn()
    replies = client.heard(client_wire.Reply)
    if not replies:
        return None
    (reply,) = replies
    assert reply.number == 5
    found = msgspec.msgpack.decode(reply.answer, type=control.Answer)
    assert isinstance(found, control.OutputIs)
    return [one.text for one in found.tries]


def say(manager: Manager, *tries: Printed) -> None:
    """Answer the one question that the manager was asked."""
    (asked,) = manager.heard(manager_wire.Show)
    manager.say(manager_wire.Shown(asked.number, list(tries)))


def test_all_managers_of_the_pool_are_asked_and_their_answers_put_in_order() -> None:
    bench = Bench(pools=TWO_POOLS)
    client, one, two, other = (
        bench.client(),
        bench.manager("m1"),
        bench.manager("m2"),
        bench.manager("m3", pool="other"),
    )
    (task,) = client.call()
    ask(client, task)
    say(two, Printed(7, "second"))
    assert answer(client) is None, "another one may know more"
    say(one, Printed(3, "first"))
    assert answer(client) == ["first", "second"]
    assert other.heard(manager_wire.Show) == []


def test_of_a_forgotten_task_all_pools_are_asked() -> None:
    bench = Bench(pools=TWO_POOLS)
    client, one, other = bench.client(), bench.manager("m1"), bench.manager("m2", pool="other")
    ask(client, 4711)
    say(one)
    say(other, Printed(1, "seen"))
    assert answer(client) == ["seen"]


def test_without_managers_there_is_nothing_to_show() -> None:
    bench = Bench()
    client = bench.client()
    ask(client, 1)
    assert answer(client) == []


def test_a_manager_that_is_gone_is_not_waited_for() -> None:
    bench = Bench()
    client, one, two = bench.client(), bench.manager("m1"), bench.manager("m2")
    ask(client, 1)
    say(one, Printed(1, "seen"))
    two.say(manager_wire.Leave("enough"))
    assert answer(client) == ["seen"]


def test_what_nobody_asked_is_ignored() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager("m1")
    ask(client, 1)
    manager.say(manager_wire.Shown(1, [Printed(1, "made up")]))
    assert answer(client) is None
    say(manager)
    assert answer(client) == []


def test_a_late_answer_to_a_question_of_before_a_restart_is_not_taken_for_another() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager("m1")
    ask(client, 1)
    (old,) = manager.heard(manager_wire.Show)
    bench.restart()
    client.say(client.hello)
    manager.back()
    ask(client, 2)
    manager.say(manager_wire.Shown(old.number, [Printed(1, "of task 1")]))
    assert answer(client) is None
    say(manager, Printed(1, "of task 2"))
    assert answer(client) == ["of task 2"]


def test_questions_do_not_pile_up() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager("m1")
    for number in range(1500):
        ask(client, 1, number)
    assert len(bench.state.asked.output) == 1000
    assert len(client.heard(client_wire.Reply)) == 500
    assert len(manager.heard(manager_wire.Show)) == 1500
