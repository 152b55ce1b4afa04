"""A pool's status and conditions: whether it is well, and if not, why. Pure; `docs/operator.md` lists all reasons."""

from __future__ import annotations

from collections.abc import Sequence

from blockyard.kube.times import instant
from blockyard_operator.core import plan as do
from blockyard_operator.core.objects import Block
from blockyard_operator.core.pool_world import Choice, PoolWorld
from blockyard_operator.core.standing import FALSE, TRUE, UNKNOWN, Said, conditions
from blockyard_operator.core.view import QueueView
from blockyard_operator.resources.pool import BlockCounts, LastFailure, PoolStatus, TaskCounts, WorkerCounts
from blockyard_operator.resources.shape import Condition, ConditionStatus


def status_of_pool(
    world: PoolWorld, living: Sequence[Block], ended: Sequence[Block], choice: Choice, now: float
) -> tuple[PoolStatus, list[do.Effect]]:
    """The status as it should be, and the Events that tell of what is new in it."""
    pool, before = world.pool, world.pool.status
    counts = _count(world, living, choice)
    failure = _last_failure(world, ended)
    proved = any(block.status.proved and block.hash == world.hash for block in (*living, *ended))
    same_form = before.template_hash == world.hash
    ordinal = max([before.last_ordinal, *(block.ordinal for block in world.blocks)])
    said = _conditions(world, counts, choice, failure)
    status = PoolStatus(
        observed_generation=pool.meta.generation,
        conditions=conditions(before.conditions, said, pool.meta.generation, now),
        blocks=counts,
        workers=_workers(world.queue) if world.queue is not None else before.workers,
        tasks=_tasks(world.queue) if world.queue is not None else before.tasks,
        selector=f"blockyard.dev/pool={pool.meta.name}",
        template_hash=world.hash,
        last_ordinal=ordinal,
        opened=before.opened or (world.queue is not None and ordinal >= _first_blocks(world)),
        proved=proved or (before.proved and same_form),
        last_failure=failure,
    )
    return status, _events(world, before.conditions, status.conditions)


def _first_blocks(world: PoolWorld) -> int:
    blocks = world.pool.spec.blocks
    return blocks.replicas if blocks.replicas is not None else (blocks.init or blocks.min)


def _count(world: PoolWorld, living: Sequence[Block], choice: Choice) -> BlockCounts:
    taking = [block for block in living if not block.spec.drain]
    ready = [block for block in taking if block.status.managers > 0]
    loads = world.queue.loads if world.queue is not None else {}
    idle = [block for block in ready if (load := loads.get(block.meta.name)) is not None and load.busy == 0]
    return BlockCounts(
        desired=choice.wanted,
        living=len(living),
        ready=len(ready),
        pending=len(taking) - len(ready),
        idle=len(idle) if world.queue is not None else world.pool.status.blocks.idle,
        draining=len(living) - len(taking),
        outdated=sum(block.hash != world.hash for block in living),
    )


def _workers(queue: QueueView) -> WorkerCounts:
    busy = sum(load.busy for load in queue.loads.values())
    return WorkerCounts(busy=busy, idle=sum(load.workers for load in queue.loads.values()) - busy)


def _tasks(queue: QueueView) -> TaskCounts:
    return TaskCounts(waiting=int(queue.demand.queued_slots), running=int(queue.demand.running_slots))


def _last_failure(world: PoolWorld, ended: Sequence[Block]) -> LastFailure | None:
    bad = [block for block in ended if block.state in ("FAILED", "MISSING") and block.status.job_status is not None]
    if not bad:
        return world.pool.status.last_failure
    block = max(bad, key=lambda one: (instant(one.status.job_status.ended_at) or 0.0) if one.status.job_status else 0.0)
    job = block.status.job_status
    assert job is not None
    return LastFailure(block=block.meta.name, reason=job.reason, message=job.message, time=job.ended_at)


# --- conditions -------------------------------------------------------------------------------------------------------


def _conditions(world: PoolWorld, counts: BlockCounts, choice: Choice, failure: LastFailure | None) -> list[Said]:
    accepted, template = _accepted(world), _template(world)
    connected = _connected(world, counts)
    degraded = _degraded(choice, failure)
    limits = _limits(world, choice)
    problems = (
        [Said("Ready", FALSE, "Suspended", "spec.suspend is set; tasks wait")] if world.pool.spec.suspend else [],
        [limits] if world.refusal is not None and limits.reason == world.refusal.reason and not counts.ready else [],
        [one for one in (accepted, template, connected) if one.status is not TRUE],
        [degraded] if degraded.status is TRUE else [],
        [_starting(world, counts)] if counts.desired > 0 and counts.ready == 0 else [],
    )
    first = next((found[0] for found in problems if found), None)
    well = Said("Ready", TRUE, "Ready" if counts.ready else "Idle")
    ready = well if first is None else Said("Ready", FALSE, first.reason, first.message)
    return [
        ready, accepted, template, connected, _progressing(world, counts, choice), degraded, limits, choice.radio.said,
    ]  # fmt: skip


def _accepted(world: PoolWorld) -> Said:
    if world.pool.unreadable:
        return Said("Accepted", FALSE, "InvalidSpec", world.pool.unreadable)
    return Said("Accepted", TRUE, "Accepted")


def _template(world: PoolWorld) -> Said:
    if world.problem:
        return Said("TemplateValid", FALSE, "TemplateInvalid", world.problem)
    check = world.verdict
    if check is None:
        return Said("TemplateValid", UNKNOWN, "Checking", "the pods have not been checked yet")
    if check.problem:
        return Said("TemplateValid", FALSE, check.reason or "TemplateInvalid", check.problem)
    return Said("TemplateValid", TRUE, "DryRunPassed")


def _connected(world: PoolWorld, counts: BlockCounts) -> Said:
    if world.connected and world.queue is not None:
        return Said("Connected", TRUE, "Connected")
    if world.connected:
        return Said("Connected", UNKNOWN, "Announcing", "the interchange has not answered for this pool yet")
    return Said("Connected", FALSE, "InterchangeSilent", "blocks are held as they are until it answers")


def _degraded(choice: Choice, failure: LastFailure | None) -> Said:
    allowed = choice.allowed
    if allowed.reason and allowed.reason != "BlocksUnproved":
        return Said("Degraded", TRUE, allowed.reason, allowed.message)
    return Said("Degraded", FALSE, "AsExpected")


def _starting(world: PoolWorld, counts: BlockCounts) -> Said:
    """No block works yet: say what the first one waits for."""
    waiting = [block for block in world.blocks if not block.spec.drain and block.status.job_status is not None]
    pending = [one for one in waiting if one.status.job_status and one.status.job_status.state in ("PENDING", "HELD")]
    if not pending:
        return Said("Ready", FALSE, "Starting", "no block has registered a manager yet")
    job = pending[0].status.job_status
    assert job is not None
    return Said("Ready", FALSE, job.reason or "Starting", f"block {pending[0].meta.name}: {job.message}")


def _progressing(world: PoolWorld, counts: BlockCounts, choice: Choice) -> Said:
    if counts.outdated:
        if world.pool.spec.rollout.paused:
            return Said("Progressing", FALSE, "RolloutPaused", "spec.rollout.paused is set")
        return Said("Progressing", TRUE, "RollingOut", "blocks of an earlier form are being replaced")
    if counts.draining:
        return Said("Progressing", TRUE, "ScalingIn", "blocks are being drained")
    if counts.pending or choice.start:
        return Said("Progressing", TRUE, "ScalingOut", "blocks are on their way")
    return Said("Progressing", FALSE, "Steady")


def _limits(world: PoolWorld, choice: Choice) -> Said:
    blocks, refusal = world.pool.spec.blocks, world.refusal
    if refusal is not None and not world.has_secret:
        return Said("ScalingLimited", TRUE, refusal.reason, f"the pool's Secret: {refusal.message}")
    template = _template(world)
    if choice.limited == "Preparing" and template.status is FALSE:
        return Said("ScalingLimited", TRUE, template.reason, template.message)
    if choice.limited:
        bound = f"max={blocks.max}" if blocks.replicas is None else f"replicas={blocks.replicas}"
        texts = {
            "AtMaximum": f"demand asks for more than blocks.{bound}",
            "Preparing": "the pool's key and pods are being prepared",
        }
        if refusal is not None:
            texts[refusal.reason] = f"a WorkerBlock: {refusal.message}"
        return Said("ScalingLimited", TRUE, choice.limited, texts.get(choice.limited, choice.allowed.message))
    return Said("ScalingLimited", FALSE, "NotLimited")


# --- events -----------------------------------------------------------------------------------------------------------

_TOLD = {
    "TemplateValid": ConditionStatus.FALSE,
    "Accepted": ConditionStatus.FALSE,
    "Degraded": ConditionStatus.TRUE,
    "Connected": ConditionStatus.FALSE,
}
"""Conditions whose turn for the worse is worth an Event, and the status that is the worse."""


def _events(world: PoolWorld, before: Sequence[Condition], after: Sequence[Condition]) -> list[do.Effect]:
    old = {one.type: (one.status, one.reason) for one in before}
    worse = [
        one for one in after if _TOLD.get(one.type) is one.status and old.get(one.type) != (one.status, one.reason)
    ]
    better = [
        one
        for one in after
        if one.type in _TOLD
        and _TOLD[one.type] is not one.status
        and old.get(one.type, ("", ""))[0] is _TOLD[one.type]
        and one.status is not ConditionStatus.UNKNOWN
    ]
    about = world.pool.meta
    return [
        *(do.Tell(about, "WorkerPool", one.reason, one.message, warning=True) for one in worse),
        *(do.Tell(about, "WorkerPool", _good(one), f"{one.type} is {one.status} again") for one in better),
    ]


def _good(one: Condition) -> str:
    """The reason of an Event that tells of a turn for the better; 'DegradedAgain' would read as one for the worse."""
    return f"{one.type}Again" if one.status is ConditionStatus.TRUE else "Recovered"
