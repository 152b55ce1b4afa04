"""Orders to stop the programs of a try: signalled until the worker answers, refused for what does not run."""

from blockyard.wire import manager as wire
from blockyard.wire.records import Status
from blockyard_worker.core.holding import AGAIN_SECONDS
from tests.property.worker.world import FakeWorker, World, lease
from tests.unit.worker.test_feeding import NARROW, a_world


def running() -> tuple[World, FakeWorker]:
    """One worker that runs the first of two tries."""
    world = a_world(workers=1)
    world.assign([(NARROW, 2)], chain=False)
    (worker,) = world.live()
    world.start_next(worker)
    return world, worker


def hold(world: World, number: int, task: int, *, held: bool = True, epoch: int | None = None) -> None:
    """Give the order."""
    world.say(wire.Hold(number, task, lease(task).epoch if epoch is None else epoch, held))


def test_a_worker_is_signalled_until_it_answers() -> None:
    world, worker = running()
    hold(world, 7, 1)
    for _ in range(2):
        assert [order.number for order in worker.orders] == [7]
        worker.orders.clear()
        world.tick(AGAIN_SECONDS / 2)
        assert worker.orders == []
        world.tick(AGAIN_SECONDS)
    assert world.holds == []
    world.core.on_obeyed(7, 1)
    world.tick(AGAIN_SECONDS)
    assert world.holds == [wire.Held(7, 1)]
    assert len(worker.orders) == 1, "no signal more"


def test_orders_to_one_worker_are_given_one_after_the_other() -> None:
    world, worker = running()
    hold(world, 7, 1)
    hold(world, 8, 1, held=False)
    assert {order.number for order in worker.orders} == {7}
    world.core.on_obeyed(7, 1)
    world.tick()
    assert worker.orders[-1] == wire.Hold(8, 1, lease(1).epoch, held=False)


def test_what_has_ended_or_waits_or_is_another_try_is_refused() -> None:
    world, worker = running()
    hold(world, 1, 2)
    hold(world, 2, 1, epoch=lease(1).epoch + 1)
    hold(world, 3, 99)
    world.tick()
    assert [(one.number, one.count) for one in world.holds] == [(1, 0), (2, 0), (3, 0)]
    assert "waits" in world.holds[0].why
    assert {one.why for one in world.holds[1:]} == {"it has ended"}
    hold(world, 4, 1)
    world.finish(worker, Status.DONE, 0.1)
    world.tick(AGAIN_SECONDS)
    assert world.holds[-1] == wire.Held(4, 0, "it has ended"), "native code never let the signal in"


def test_a_plain_function_is_refused_with_the_reason() -> None:
    world, _ = running()
    hold(world, 7, 1)
    world.core.on_obeyed(7, 0)
    world.tick()
    assert world.holds[0].count == 0
    assert "no managed task" in world.holds[0].why
