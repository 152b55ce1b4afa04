"""Wide tasks: several managers of one block together, by reservation."""

from blockyard.wire import client as client_wire
from blockyard.wire import control
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Status
from blockyard_interchange.core import entries
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Manager, a_spec, done, ended, lease

WIDE = a_spec(nodes=2)


def a_block(bench: Bench, block: str = "b", nodes: int = 2) -> list[Manager]:
    return [bench.manager(f"{block}{index}", block=block, index=index) for index in range(nodes)]


def a_bench() -> Bench:
    return Bench(pools={"default": PoolSettings(workers=1, nodes_per_block=2)})


def test_a_wide_task_takes_the_managers_of_one_block_and_ends_as_its_first_part() -> None:
    bench = a_bench()
    client = bench.client()
    alone = bench.manager("alone", block="a")
    block = a_block(bench)
    client.call(WIDE)
    bench.turn()
    parts = [manager.assigned()[0] for manager in block]
    assert [part.part.index for part in parts if part.part is not None] == [0, 1]
    assert alone.assigned() == []
    block[1].report(done(parts[1], b"second"))
    block[0].report(done(parts[0], b"first"))
    bench.turn()
    assert [outcome.body for outcome in client.outcomes()] == [b"first"]
    assert not bench.state.gangs


def test_a_wide_task_starts_beside_endless_small_ones() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    client.call(bodies=[b""] * 1000)
    bench.turn()
    client.call(WIDE)
    for turns in range(10):
        for manager in block:
            for one in manager.assigned():
                if one.part is not None:
                    return
                manager.report(done(one))
        bench.turn(0.01)
        assert turns < 9, "the wide task waits and waits"


def test_two_wide_tasks_do_not_wait_for_each_other() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    client.call(WIDE, bodies=[b"1", b"2"])
    bench.turn()
    for body in (b"1", b"2"):
        parts = [manager.assigned()[0] for manager in block]
        assert {part.body for part in parts} == {body}
        for manager, part in zip(block, parts, strict=True):
            manager.report(done(part))
        bench.turn()
    assert len(client.outcomes()) == 2


def test_a_part_that_fails_ends_the_others_and_the_task() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    client.call(WIDE)
    bench.turn()
    parts = [manager.assigned()[0] for manager in block]
    block[1].report(ended(parts[1], Status.RAISED, message="rank 1 broke"))
    bench.turn()
    (outcome,) = client.outcomes()
    assert outcome.failure is not None
    assert outcome.failure.message == "rank 1 broke"
    assert [stop.leases for stop in block[0].heard(manager_wire.Stop)] == [[lease(parts[0])]]


def test_a_lost_manager_ends_all_parts_and_the_task_runs_again() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    (task,) = client.call(WIDE)
    bench.turn()
    parts = [manager.assigned()[0] for manager in block]
    block[1].say(manager_wire.Leave("killed"))
    bench.turn()
    assert [stop.leases for stop in block[0].heard(manager_wire.Stop)] == [[lease(parts[0])]]
    assert bench.task(task).losses == 1
    block.append(bench.manager("b2", block="b", index=1))
    bench.turn()
    assert [len(manager.assigned()) for manager in block] == [1, 0, 1]


def test_a_deadline_lets_reserved_managers_go() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    held = [manager.assigned()[0] for manager in block]
    client.call(a_spec(nodes=2, deadline=1.0))
    bench.turn()
    assert len(bench.state.gangs) == 1, "it waits for both to be empty"
    for manager in block:
        manager.beat()
    bench.turn(1.5)
    assert not bench.state.gangs
    assert [outcome.status for outcome in client.outcomes()] == [Status.DEADLINE]
    for manager, one in zip(block, held, strict=True):
        manager.report(done(one))
    client.call(bodies=[b"3", b"4"])
    bench.turn()
    assert [len(manager.assigned()) for manager in block] == [1, 1]


def test_cancelling_a_wide_task_that_waits_lets_its_managers_go() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    (wide,) = client.call(WIDE)
    bench.turn()
    client.say(client_wire.Cancel([wide]))
    bench.turn()
    assert not bench.state.gangs
    assert all(manager.reserved is None for manager in bench.state.pools["default"].managers.values())
    assert len(block) == 2


def test_a_part_that_never_arrived_starts_the_task_anew() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    client.call(WIDE)
    bench.turn()
    parts = [manager.assigned()[0] for manager in block]
    block[1].back(peer=b"new connection")
    bench.turn()
    again = [manager.assigned()[0] for manager in block]
    assert {one.epoch for one in again} == {parts[0].epoch + 1}
    assert [stop.leases for stop in block[0].heard(manager_wire.Stop)] == [[lease(parts[0])]]


def test_a_part_handed_back_starts_the_task_anew() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    client.call(WIDE)
    bench.turn()
    parts = [manager.assigned()[0] for manager in block]
    block[0].say(manager_wire.Returned([lease(parts[0])]))
    bench.turn()
    assert [len(manager.assigned()) for manager in block] == [1, 1]


def test_a_draining_manager_is_not_waited_for() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    client.call(bodies=[b"1", b"2"])
    bench.turn()
    for manager in block:
        manager.assigned()
    client.call(WIDE)
    bench.turn()
    client.ask(control.Drain(["b"], 5.0), control.Done)
    assert not bench.state.gangs
    others = a_block(bench, "c")
    bench.turn()
    assert [len(manager.assigned()) for manager in others] == [1, 1]


def test_ranks_are_dealt_over_the_nodes() -> None:
    bench = a_bench()
    client, block = bench.client(), a_block(bench)
    client.call(a_spec(ranks=5, ranks_per_node=3))
    bench.turn()
    parts = [manager.assigned()[0].part for manager in block]
    assert [(p.first_rank, p.ranks, p.total_ranks) for p in parts if p is not None] == [(0, 3, 5), (3, 2, 5)]


def test_the_parts_of_a_try_are_told_one_secret_and_where_they_reach_one_another() -> None:
    bench = a_bench()
    client = bench.client()
    block = [bench.manager(f"b{index}", block="b", index=index, address=f"10.0.0.{index}") for index in range(2)]
    client.call(WIDE)
    bench.turn()
    tries = [manager.assigned()[0] for manager in block]
    block[1].report(ended(tries[1], Status.LOST))
    bench.turn()
    tries += [manager.assigned()[0] for manager in block]
    parts = [one.part for one in tries if one.part is not None]
    assert [part.address for part in parts] == ["10.0.0.0"] * 4
    assert [part.addresses for part in parts] == [["10.0.0.0", "10.0.0.1"]] * 4
    secrets = [part.secret for part in parts]
    assert {len(secret) for secret in secrets} == {32}
    assert [secret == secrets[0] for secret in secrets] == [True, True, False, False]
    assert secrets[2] == secrets[3]
    journal = b"".join(entries.encode(entry) for entry in bench.entries)
    assert not any(secret in journal for secret in (*secrets, bench.state.seal))
