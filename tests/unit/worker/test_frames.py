"""How tries are put into frames for workers. Who is fed is tested with the whole core, in `tests/property/worker`."""

from blockyard.wire.records import Status, TaskSpec
from tests.property.worker.world import NAMES, World, policy

LINKS = 600


def run_all(world: World) -> None:
    (worker,) = world.live()
    while worker.queue or worker.frames:
        world.start_next(worker)
        world.finish(worker, Status.DONE, 1e-6)


def test_a_chain_longer_than_a_frame_goes_on_frame_by_frame() -> None:
    world = World(policy(workers=1))
    world.join()
    (worker,) = world.live()
    world.warm_up(worker)
    spec = TaskSpec(NAMES[0])
    world.assign([(spec, 1)], chain=False)
    run_all(world)
    before = worker.seen_frame
    world.assign([(spec, LINKS)], chain=True)
    run_all(world)
    assert len(world.ends) == LINKS + 1
    assert worker.seen_frame - before <= 4
