"""A block that will be ended takes nothing that cannot end before."""

from blockyard.wire import client as client_wire
from blockyard.wire import control
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, a_spec, done


def test_a_task_goes_where_it_can_end_in_time() -> None:
    bench = Bench()
    client, ending, lasting = bench.client(), bench.manager("ending", seconds_left=100.0), bench.manager("lasting")
    long, short = client.call(a_spec(timeout=200.0)), client.call(a_spec(timeout=50.0))
    bench.turn()
    assert [one.task for one in lasting.assigned()] == long
    assert [one.task for one in ending.assigned()] == short


def test_a_timeout_that_no_block_lives_for_is_refused() -> None:
    bench = Bench(pools={"default": PoolSettings(walltime=60.0)})
    client = bench.client()
    client.call(a_spec(timeout=60.0))
    client.call(a_spec(timeout=59.0))
    bench.turn()
    (refused,) = client.heard(client_wire.Refused)
    assert refused.kind == "request"
    assert "timeout=60 was asked for, and blocks of pool 'default' live 60 s" in refused.message
    assert len(bench.state.tasks) == 1


def test_of_a_task_that_fits_no_block_it_is_said_why_it_waits() -> None:
    bench = Bench()
    client = bench.client()
    bench.manager("ending", seconds_left=100.0)
    (task,) = client.call(a_spec(timeout=200.0))
    bench.turn()
    (sentence,) = client.ask(control.Task(task), control.TaskIs).sentences
    assert "may run for 200 s" in sentence
    assert "of its walltime, 100 s" in sentence


def test_without_a_timeout_what_was_seen_before_counts() -> None:
    bench = Bench()
    client, ending = bench.client(), bench.manager("ending", seconds_left=100.0)
    client.call(a_spec())
    bench.turn()
    ending.report(*(done(one, seconds=60.0) for one in ending.assigned()))
    client.call(a_spec())
    bench.turn(50.0)
    assert not ending.assigned()
