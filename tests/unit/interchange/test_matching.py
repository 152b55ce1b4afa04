"""Which task goes to which manager, in which order, and how many ahead."""

from blockyard.ids import FunctionId
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Assigned, Status, body_bytes
from blockyard_interchange.core.matching import ahead
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Manager, a_function, a_spec, done, lease


def run_one(bench: Bench, manager: Manager) -> list[Assigned]:
    """Finish all that a manager has been given."""
    ones = manager.assigned()
    manager.report(*(done(one, seconds=2.0) for one in ones))
    bench.turn()
    return ones


def learned(bench: Bench, seconds: float, name: str = "f") -> None:
    bench.state.functions[FunctionId(a_function(name).id)].seconds = seconds


def test_ten_tasks_of_one_client_do_not_wait_behind_thousands_of_another() -> None:
    bench = Bench()
    crowd, few, manager = bench.client(1), bench.client(2), bench.manager()
    crowd.call(bodies=[b""] * 3_000)
    learned(bench, 2.0)
    bench.turn()
    mine = set(few.call(bodies=[b""] * 10))
    given = 0
    while mine:
        given += 1
        assert given <= 25, f"{len(mine)} of ten tasks still wait after {given} others"
        mine -= {one.task for one in run_one(bench, manager)}


def test_clients_take_turns_however_many_there_are() -> None:
    bench = Bench()
    clients = [bench.client(number) for number in range(1, 6)]
    for client in clients:
        client.call(bodies=[b""] * 20)
    learned(bench, 2.0)
    manager = bench.manager()
    bench.turn()
    given = [one.task >> 32 for _ in range(20) for one in run_one(bench, manager)]
    assert {name: given.count(name) for name in range(1, 6)} == dict.fromkeys(range(1, 6), 4)


def test_clients_share_time_and_not_tasks() -> None:
    bench = Bench()
    slow, quick, manager = bench.client(1), bench.client(2), bench.manager()
    slow.call(bodies=[b""] * 20)
    learned(bench, 2.0)  # of both: they call the same function
    bench.turn()
    quick.call(bodies=[b""] * 40)
    given: list[int] = []
    while given.count(1) < 4:
        ones = manager.assigned()
        manager.report(*(done(one, seconds=5.0 if one.task >> 32 == 1 else 0.5) for one in ones))
        bench.turn()
        given += [one.task >> 32 for one in ones]
    assert 20 <= given.count(2) <= 35, "ten for each"


def test_a_task_too_large_for_a_manager_does_not_keep_others_from_it() -> None:
    bench = Bench(pools={"default": PoolSettings(workers=4)})
    client, small = bench.client(), bench.manager("small", workers=1)
    client.call(a_spec(cores=4.0), [b""] * 3)
    (task,) = client.call()
    bench.turn()
    assert [one.task for one in small.assigned()] == [task]
    large = bench.manager("large", workers=4, cores=4.0)
    bench.turn()
    assert len(large.assigned()) >= 1


def test_higher_priority_goes_first_and_equal_ones_in_order() -> None:
    bench = Bench()
    client = bench.client()
    low = client.call(a_spec(priority=-1))
    first, second = client.call(bodies=[b"1", b"2"])
    high = client.call(a_spec(priority=5))
    learned(bench, 2.0)
    manager = bench.manager()
    order = []
    bench.turn()
    for _ in range(4):
        order += [one.task for one in run_one(bench, manager)]
    assert order == [*high, first, second, *low]


def test_idle_workers_come_first_then_everybody_is_given_as_much_ahead_as_tasks_are_short() -> None:
    bench = Bench(prefetch_tasks=100, prefetch_seconds=0.01)
    client = bench.client()
    managers = [bench.manager(f"m{number}") for number in range(2)]
    client.call(bodies=[b""] * 3)
    bench.turn()
    assert sorted(len(manager.assigned()) for manager in managers) == [1, 2], "one ahead, while nothing is known"
    learned(bench, 0.001)
    client.call(bodies=[b""] * 50)
    bench.turn()
    assert all(len(manager.assigned()) >= 8 for manager in managers)


def test_nothing_waits_behind_long_tasks_or_those_that_may_run_once() -> None:
    bench = Bench()
    client = bench.client(1, "long", "once")
    managers = [bench.manager("m1"), bench.manager("m2")]
    client.call(a_spec("long"), [b""] * 10)
    learned(bench, 10.0, "long")
    bench.turn()
    assert [len(manager.assigned()) for manager in managers] == [1, 1]


def test_nothing_long_is_held_ahead_beside_another_client() -> None:
    """It would have to wait for that, however short its own tasks are."""
    bench = Bench()
    client = bench.client()
    client.call()
    order = next(iter(bench.state.tasks.values())).order
    learned(bench, 0.2)
    assert ahead(bench.state, order, near=True) == 1, "there is no other"
    bench.client(2)
    assert [ahead(bench.state, order, near=near) for near in (True, False)] == [0, 1], "elsewhere a trip may take long"
    learned(bench, 0.04)
    assert ahead(bench.state, order, near=True) == 1


def test_what_waits_behind_a_long_task_is_taken_back_when_somebody_idles() -> None:
    bench = Bench(prefetch_tasks=100)
    client = bench.client()
    busy, idle = bench.manager("busy"), None
    learned(bench, 0.001)
    client.call(bodies=[b""] * 8)
    bench.turn()
    ones = busy.assigned()
    assert len(ones) == 8
    idle = bench.manager("idle")
    busy.beat()
    idle.beat()
    bench.turn(0.2)
    (retract,) = busy.heard(manager_wire.Retract)
    assert retract.count >= 1
    busy.say(manager_wire.Returned([lease(one) for one in ones[-retract.count :]]))
    bench.turn()
    assert len(idle.assigned()) == retract.count


def test_a_task_takes_as_many_workers_as_its_share_of_the_cores() -> None:
    bench = Bench(pools={"default": PoolSettings(workers=4, cores=8.0)})
    client, manager = bench.client(), bench.manager(workers=4, cores=8.0)
    client.call(a_spec(cores=4.0), [b""] * 2)
    bench.turn()
    assert len(manager.assigned()) == 2
    assert bench.state.pools["default"].managers.popitem()[1].load == 4


def test_pools_do_not_share_managers() -> None:
    bench = Bench(pools={"default": PoolSettings(), "gpu": PoolSettings()})
    client, manager = bench.client(), bench.manager(pool="gpu")
    client.call()
    (task,) = client.call(a_spec(pool="gpu"))
    bench.turn()
    assert [one.task for one in manager.assigned()] == [task]


def test_a_deadline_ends_a_running_task_and_its_worker_is_given_others() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager()
    client.call(a_spec(deadline=1.0))
    bench.turn()
    (one,) = manager.assigned()
    (other,) = client.call()
    learned(bench, 2.0)
    manager.beat()
    bench.turn(1.01)
    assert [stop.leases for stop in manager.heard(manager_wire.Stop)] == [[lease(one)]]
    assert [again.task for again in manager.assigned()] == [other]


def test_a_clock_that_is_set_back_moves_no_deadline() -> None:
    bench = Bench()
    client = bench.client()
    client.call(a_spec(deadline=10.0))
    bench.turn()
    bench.turn(5.0)
    bench.state.wall_offset -= 3600.0
    bench.turn(5.1)
    assert len(client.outcomes()) == 1


def test_a_clock_that_is_set_back_while_the_interchange_is_down_lengthens_no_deadline() -> None:
    bench = Bench(client_grace=1e9)
    client = bench.client()
    (before,) = client.call(a_spec(deadline=10.0))
    bench.turn()
    bench.wall_offset -= 3600.0
    bench.restart()
    client.say(client.hello)
    (after,) = client.call(a_spec(deadline=20.0))
    bench.turn(10.1)
    assert [outcome.status for outcome in bench.recorded(before)] == [Status.DEADLINE]
    assert bench.recorded(after) == []
    bench.turn(10.1)
    assert [outcome.status for outcome in bench.recorded(after)] == [Status.DEADLINE]


def test_a_clock_that_is_set_costs_no_task_and_no_order() -> None:
    bench = Bench(client_grace=1e9)
    client = bench.client()
    first = client.call(bodies=[b"1", b"2"])
    bench.turn()
    for hours in (+5, -9, +4):
        bench.wall_offset += 3600.0 * hours
        bench.restart()
        client.say(client.hello)
        first += client.call()
        bench.turn()
    manager = bench.manager(workers=8)
    bench.turn()
    assert [one.task for one in manager.assigned()] == first


def test_assignments_are_cut_into_frames_of_bounded_size_in_order() -> None:
    bench = Bench(max_frame_bytes=1000)
    client, manager = bench.client(), bench.manager(workers=5)
    client.call(bodies=[b"1" * 600, b"2" * 300])
    client.call(a_spec(priority=-1), [b"3" * 300, b"4" * 3000, b"5"])
    bench.turn()
    frames = manager.heard(manager_wire.Assign)
    assert [[body_bytes(one.body) for group in frame.groups for one in group.tasks] for frame in frames] == [
        [600, 300],
        [300],
        [3000],
        [1],
    ]
