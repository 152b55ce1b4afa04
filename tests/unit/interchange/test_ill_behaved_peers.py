"""Well-formed messages that no peer of ours would send: they may cost their sender, and nobody else."""

import msgspec

from blockyard.ids import SessionId
from blockyard.wire import client as client_wire
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Lease
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, a_function, done, lease


def test_a_connection_that_greets_for_another_session_leaves_the_first() -> None:
    bench = Bench()
    one = bench.client(1)
    one.say(msgspec.structs.replace(one.hello, session=2, token=b"2" * 16))
    bench.turn()
    assert [session.connected for session in bench.state.sessions.values()] == [False, True]


def test_a_connection_that_joins_as_another_manager_gives_up_what_the_first_held() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager("m1")
    client.call()
    bench.turn()
    (first,) = manager.assigned()
    manager.say(msgspec.structs.replace(manager.join, manager="m2"))
    bench.turn()
    (again,) = manager.assigned()
    assert again.epoch > first.epoch
    manager.report(done(first), done(again))
    bench.turn()
    assert [outcome.epoch for outcome in client.outcomes()] == [again.epoch]


def test_a_value_put_under_the_number_of_a_task_is_refused() -> None:
    bench = Bench()
    client = bench.client()
    (task,) = client.call()
    client.say(client_wire.Put(2, task & 0xFFFFFFFF, b"a value"))
    bench.turn()
    assert [refused.number for refused in client.heard(client_wire.Refused)] == [2]
    assert bench.task(task).outcome is None


def test_a_question_that_is_no_text_where_text_is_expected_is_refused() -> None:
    bench = Bench()
    client = bench.client()
    client.say(client_wire.Ask(5, msgspec.Raw(b"\x92\x02\x91\xa1\xff")))
    bench.turn()
    assert [(refused.number, refused.kind) for refused in client.heard(client_wire.Refused)] == [(5, "protocol")]


def test_a_manager_that_joins_holding_tasks_of_another_pool_gets_none_of_them() -> None:
    bench = Bench(pools={"default": PoolSettings(), "other": PoolSettings()})
    client = bench.client()
    (task,) = client.call()
    thief = bench.manager("thief", pool="other")
    thief.back(Lease(task, 1 << 50))
    bench.turn()
    assert [joined.dropped for joined in thief.heard(manager_wire.Joined)][-1] == [Lease(task, 1 << 50)]
    honest = bench.manager("honest")
    bench.turn()
    (one,) = honest.assigned()
    assert lease(one).task == task


def test_a_manager_is_sent_functions_of_its_own_tries_only() -> None:
    bench = Bench(pools={"default": PoolSettings(), "other": PoolSettings()})
    client, honest, thief = bench.client(), bench.manager("honest"), bench.manager("thief", pool="other")
    client.call()
    bench.turn()
    assert honest.assigned()
    wanted = manager_wire.Wanted([a_function().id])
    for manager in (honest, thief):
        manager.heard(manager_wire.Functions)
        manager.say(wanted)
    bench.turn()
    assert len(honest.heard(manager_wire.Functions)) == 1
    assert thief.heard(manager_wire.Functions) == []


def test_a_client_of_another_python_is_refused_even_for_a_function_that_is_known() -> None:
    bench = Bench()
    client = bench.client(1)
    bench.manager()
    client.call()
    bench.turn()
    other = bench.client(2)
    bench.state.sessions[SessionId(2)].python = "3.99"
    other.call()
    bench.turn()
    (refused,) = other.heard(client_wire.Refused)
    assert refused.kind == "python"
    assert "3.99" in refused.message
