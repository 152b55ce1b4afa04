"""A WorkerBlock that was applied by hand: its Secret is its own."""

from blockyard.kube.pods import Pod
from blockyard_operator.core import plan as do
from blockyard_operator.core.blocks import reconcile_block
from blockyard_operator.core.objects import Block, Meta
from blockyard_operator.core.sight import BlockWorld
from blockyard_operator.resources.block import BlockSpec, BlockStatus, JobStatusRecord, PodCounts

META = Meta(namespace="n", name="mine", uid="u", created_at=1000.0)
POD = Pod(name="mine-0", uid="p", namespace="n", block="mine", phase="Running")
RUNS = BlockStatus(job_status=JobStatusRecord(state="RUNNING"), pods=PodCounts(created=True))


def effects(world: BlockWorld) -> list[do.Effect]:
    return list(reconcile_block(world, 1010.0).effects)


def test_its_secret_is_made_before_its_pod() -> None:
    assert effects(BlockWorld(block=Block(meta=META, spec=BlockSpec()), has_secret=False)) == [
        do.MakeSecret(META, "WorkerBlock")
    ]


def test_a_new_leader_sees_to_the_secret_of_one_that_runs() -> None:
    """Else the interchange would tell it nothing of that pool: not of its managers, nor that they were drained."""
    for drain in (False, True):
        block = Block(meta=META, spec=BlockSpec(drain=drain), status=RUNS)
        assert do.MakeSecret(META, "WorkerBlock") in effects(BlockWorld(block=block, pods=(POD,), has_secret=False))


def test_one_that_works_for_a_pool_makes_none() -> None:
    block = Block(meta=META, spec=BlockSpec(pool="p"))
    assert effects(BlockWorld(block=block, has_secret=True)) == [do.CreatePod(META, 0)]


def test_one_whose_pool_is_not_there_says_so_and_waits_for_it() -> None:
    block = Block(meta=META, spec=BlockSpec(pool="p"))
    (written,) = [
        effect
        for effect in effects(BlockWorld(block=block, announced=False, pool_there=False))
        if isinstance(effect, do.WriteBlockStatus)
    ]
    job = written.status.job_status
    assert job is not None
    assert (job.state, job.reason) == ("PENDING", "NoPool")
    assert "no WorkerPool 'p'" in job.message
    waits = Block(meta=META, spec=BlockSpec(pool="p"), status=written.status)
    assert effects(BlockWorld(block=waits)) == [do.CreatePod(META, 0)]
