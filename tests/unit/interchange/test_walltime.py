"""A block that will be ended takes nothing that cannot end before."""

from tests.unit.interchange.builders import Bench, a_spec, done


def test_a_task_goes_where_it_can_end_in_time() -> None:
    bench = Bench()
    client, ending, lasting = bench.client(), bench.manager("ending", seconds_left=100.0), bench.manager("lasting")
    long, short = client.call(a_spec(timeout=200.0)), client.call(a_spec(timeout=50.0))
    bench.turn()
    assert [one.task for one in lasting.assigned()] == long
    assert [one.task for one in ending.assigned()] == short


def test_without_a_timeout_what_was_seen_before_counts() -> None:
    bench = Bench()
    client, ending = bench.client(), bench.manager("ending", seconds_left=100.0)
    client.call(a_spec())
    bench.turn()
    ending.report(*(done(one, seconds=60.0) for one in ending.assigned()))
    client.call(a_spec())
    bench.turn(50.0)
    assert not ending.assigned()
