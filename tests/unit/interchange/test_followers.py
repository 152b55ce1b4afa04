"""Tasks that travel behind the one they wait for. What the manager does with them is `tests/unit/worker`'s."""

from tests.unit.interchange.builders import Bench, a_spec, done

LINKS = 600


def test_a_chain_travels_whole_once_its_tasks_are_known_to_be_short() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(a_spec())
    bench.turn()
    manager.report(*(done(one, seconds=1e-6) for one in manager.assigned()))
    first = client.next
    client.call(a_spec(), [b"x"] * LINKS, needs=[[client.task(first + n - 1)] if n else [] for n in range(LINKS)])
    bench.turn()
    given = manager.assigned()
    assert [one.task for one in given] == [client.task(first + number) for number in range(LINKS)]
    assert [[need.task for need in one.needs] for one in given[1:]] == [[one.task] for one in given[:-1]]
    assert all(need.body is None for one in given for need in one.needs)


def test_a_chain_of_long_tasks_does_not_pile_up_behind_one_manager() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(a_spec())
    bench.turn()
    manager.report(*(done(one, seconds=60.0) for one in manager.assigned()))
    first = client.next
    client.call(a_spec(), [b"x"] * 10, needs=[[client.task(first + n - 1)] if n else [] for n in range(10)])
    bench.turn()
    assert len(manager.assigned()) == 1


def test_of_several_dependents_none_travels() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(workers=4)
    root = client.call(a_spec())
    client.call(a_spec(), [b"x"] * 3, needs=[root] * 3)
    bench.turn()
    assert [one.task for one in manager.assigned()] == root
