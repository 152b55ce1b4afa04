"""Near the limits of the whole, what is left is shared out; far from them everybody has the full allowance."""

from blockyard.wire import client as client_wire
from blockyard.wire.records import Assigned, Blob
from tests.unit.interchange.builders import Bench, Client, done


def _told(client: Client) -> list[int]:
    return [credit.max_tasks for credit in client.heard(client_wire.Credit)]


def test_far_from_the_limits_nobody_is_told_anything() -> None:
    bench = Bench(max_tasks=100, total_tasks=1000)
    client = bench.client()
    client.call(bodies=[b"x"] * 50)
    bench.turn(1.0)
    assert _told(client) == []


def test_near_the_limit_what_is_left_is_shared_and_given_back_later() -> None:
    bench = Bench(max_tasks=100, total_tasks=120)
    one, two, manager = bench.client(1), bench.client(2), bench.manager(workers=200)
    names = one.call(bodies=[b"x"] * 100)
    bench.turn(1.0)
    assert _told(one) == [], "100 of its own and 10 more would be beyond its own limit"
    assert _told(two) == [10], "half of the 20 that are left"
    while (tries := manager.assigned()) or bench.state.pools["default"].queue.size:
        manager.report(*(done(one_try) for one_try in tries))
        bench.turn(0.1)
        _told(one)
    one.collect(names, frames=len(one.heard(client_wire.Outcomes)))
    bench.turn(0.1)
    bench.turn(1.0)
    assert _told(two)[-1] == 60
    assert _told(one)[-1] == 60


def test_bytes_are_shared_like_tasks() -> None:
    bench = Bench(max_bytes=1000, total_bytes=1200)
    one, two = bench.client(1), bench.client(2)
    one.call(bodies=[bytes(500)] * 2)
    bench.turn(1.0)
    assert [credit.max_bytes for credit in two.heard(client_wire.Credit)] == [100]
    assert one.heard(client_wire.Credit) == []


def test_bodies_in_blobs_are_shared_out_as_disk_and_not_as_memory() -> None:
    bench = Bench(max_bytes=1000, total_bytes=1200, max_disk=10_000, total_disk=12_000)
    one, two, manager = bench.client(1), bench.client(2), bench.manager()
    names = one.call(bodies=[Blob("b1", 5000), Blob("b2", 5000), b"x" * 500])
    bench.turn(1.0)
    (credit,) = two.heard(client_wire.Credit)
    assert (credit.max_bytes, credit.max_disk) == (350, 750)
    tries: dict[int, Assigned] = {}
    while len(tries) < 3:
        for one_try in manager.assigned():
            tries[one_try.task] = one_try
            manager.report(done(one_try, Blob(f"r{len(tries)}", 100)))
        bench.turn(0.1)
    one.collect(names, frames=3)
    bench.turn(1.0)
    assert two.heard(client_wire.Credit)[-1].max_disk >= 5000, "half of the whole, but for what was too little to tell"
    assert (bench.state.bytes, bench.state.blob_bytes) == (0, 0)


def test_who_greets_again_starts_with_the_full_allowance_and_is_told_again() -> None:
    bench = Bench(max_tasks=100, total_tasks=120)
    one, two = bench.client(1), bench.client(2)
    one.call(bodies=[b"x"] * 100)
    bench.turn(1.0)
    assert _told(two) == [10]
    two.say(two.hello)
    bench.turn(1.0)
    assert _told(two) == [10]
