"""One block: from what is seen of it (`sight`) to what is to be done, and to its status. Pure.

A block's pods are made once, and never again: a block that lost one has ended, and its pool makes another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from blockyard.blocks.ledger import PROOF_SECONDS
from blockyard.blocks.scaling import earliest
from blockyard.blocks.states import JobState, JobStatus
from blockyard.kube.ends import UNREACHABLE_GRACE
from blockyard.kube.times import text
from blockyard_operator.core import plan as do
from blockyard_operator.core.failures import action_of
from blockyard_operator.core.sight import ASKED, BlockWorld, Sight, due_of, look
from blockyard_operator.core.standing import conditions_of, read_job, written
from blockyard_operator.resources.block import BlockStatus, BlockWorkers, PodCounts

EVICTABLE_SECONDS: Final = 10.0
"""A block idle for so long may lose its node to an autoscaler; sooner, each pause between tasks would cost a write."""


def reconcile_block(world: BlockWorld, now: float) -> do.Plan:
    """Decide. Once the plan is carried out and seen, the same question has an empty answer."""
    block = world.block
    if block.meta.deleting:
        return do.Plan()
    if block.unreadable:
        return _refuse(world, "InvalidSpec", block.unreadable, now)
    job = read_job(block.status.job_status)
    if job is not None and job.terminal:
        return do.Plan(effects=_clear(world, job))
    sight = look(world, job or ASKED, now)
    if sight.job.terminal:
        return _end(world, sight, now)
    wake_at = earliest(*_deadlines(world, sight, now))
    if made := _make(world, sight, now):
        return do.Plan(effects=tuple(made), wake_at=wake_at)  # the status tells of it when it is there
    effects = (*_drain(world, sight, now), *_mark(world, sight, now), *_write(world, sight, now))
    return do.Plan(effects=effects, wake_at=wake_at)


def _make(world: BlockWorld, sight: Sight, now: float) -> Sequence[do.Effect]:
    """Make what is missing of a block that was never whole; nothing of one whose end has begun.

    The Secret of a block on its own is seen to in any case: a new leader does not know it yet, and the interchange says
    nothing of a pool whose key it was not told by this leader.
    """
    block, refusal = world.block, world.refusal
    if not world.has_secret and not block.meta.owner:
        return (do.MakeSecret(block.meta, "WorkerBlock"),)
    if sight.created or sight.ending is not None or (refusal is not None and now < refusal.retry_at):
        return ()
    if not world.has_secret or not world.announced:
        return ()
    effects: list[do.Effect] = []
    if block.spec.nodes > 1:
        if not world.has_service:
            effects.append(do.CreateService(block.meta))
        if world.wants_group and not world.has_group and block.spec.queue_name is None:
            effects.append(do.CreatePodGroup(block.meta))
    missing = sorted(set(range(block.spec.nodes)) - world.present)
    return [*effects, *(do.CreatePod(block.meta, index) for index in missing)]


def _drain(world: BlockWorld, sight: Sight, now: float) -> Sequence[do.Effect]:
    """Of a block that is being ended: first its managers are told, at the deadline its pods are deleted."""
    if sight.ending is None or sight.drain_by is None:
        return ()
    if now >= sight.drain_by:
        return _delete(world)
    load = world.load
    if load is None or load.draining:
        return ()
    return (do.DrainManagers(world.block.queue, world.block.meta.name, max(0.0, sight.drain_by - now)),)


def _delete(world: BlockWorld) -> Sequence[do.Effect]:
    living = (pod for pod in world.pods if not (pod.ended or pod.gone) and pod.deleting_by is None)
    return [do.DeletePod(pod.namespace, pod.name, pod.uid) for pod in living]


def _mark(world: BlockWorld, sight: Sight, now: float) -> Sequence[do.Effect]:
    """While a block works, no autoscaler may remove its node."""
    load = world.load
    if load is None or sight.job.state is not JobState.RUNNING:
        return ()
    evictable = load.idle_since is not None and now - load.idle_since >= EVICTABLE_SECONDS
    if load.idle_since is not None and not evictable:
        return ()
    changed = [pod for pod in world.pods if pod.evictable is not evictable and pod.deleting_by is None and not pod.gone]
    return [do.MarkEvictable(pod.namespace, pod.name, pod.uid, evictable) for pod in changed]


def _clear(world: BlockWorld, job: JobStatus) -> tuple[do.Effect, ...]:
    """After the end: no pod may go on; those that failed stay, for their logs."""
    effects = list(_delete(world))
    if job.state is not JobState.FAILED:
        over = (pod for pod in world.pods if pod.ended and not pod.gone and pod.deleting_by is None)
        effects += [do.DeletePod(pod.namespace, pod.name, pod.uid) for pod in over]
    if world.load is not None:
        effects.append(do.SayGone(world.block.queue, world.block.meta.name, job.reason))
    return tuple(effects)


def _end(world: BlockWorld, sight: Sight, now: float) -> do.Plan:
    """The end is told first: whatever waits for it must not wait for the pods to be cleared away."""
    block = world.block
    told = do.SayGone(block.queue, block.meta.name, sight.job.reason)
    return do.Plan(effects=(told, *_write(world, sight, now), *_clear(world, sight.job)))


def _refuse(world: BlockWorld, reason: str, message: str, now: float) -> do.Plan:
    job = read_job(world.block.status.job_status)
    if job is not None and job.terminal:
        return do.Plan()
    end = JobStatus(state=JobState.FAILED, reason=reason, message=message, ended_at=now)
    nothing = Sight(
        job=end, created=False, released_at=None, registered_at=None, silent_since=None, proved=False, ending=None,
        drain_by=None,
    )  # fmt: skip
    return do.Plan(effects=tuple(_write(world, nothing, now)))


def _write(world: BlockWorld, sight: Sight, now: float) -> Sequence[do.Effect]:
    """The new status, if it is new; and whoever asks the interchange shall hear of the state."""
    block, load = world.block, world.last_load
    running = sum(pod.phase == "Running" for pod in world.pods)
    job = written(sight.job, block.status.job_status)
    over = sight.job.terminal
    status = BlockStatus(
        observed_generation=block.meta.generation,
        job_status=job,
        pods=PodCounts(wanted=block.spec.nodes, created=sight.created, running=0 if over else running),
        managers=load.managers if load and not over else 0,
        workers=BlockWorkers(load.busy, load.workers - load.busy) if load and not over else BlockWorkers(),
        released_at=None if sight.released_at is None else text(sight.released_at),
        registered_at=None if sight.registered_at is None else text(sight.registered_at),
        silent_since=None if sight.silent_since is None or over else text(sight.silent_since),
        proved=sight.proved,
        ending=sight.ending,
        drain_by=None if sight.drain_by is None else text(sight.drain_by),
        action=action_of(block.spec.pod_failure_rules, sight.job, world.pods) if over else None,
        conditions=conditions_of(block, sight.job, load, now),
    )
    if status == block.status:
        return ()
    effects: list[do.Effect] = [do.WriteBlockStatus(block.meta, status, urgent=_is_urgent(status, block.status))]
    if job != block.status.job_status:
        effects.append(do.ReportBlock(block.queue, block.meta.name, sight.job))
        if over and sight.job.state in (JobState.FAILED, JobState.MISSING):
            note = f"{sight.job.state}: {sight.job.message}"
            effects.append(do.Tell(block.meta, "WorkerBlock", sight.job.reason, note, warning=True))
    return effects


_ON_ITS_WAY: Final = frozenset({"Asked", "Created", "Scheduled", "ContainerCreating", "PodInitializing"})
"""What a pod goes through within moments when all is well: not worth a write each."""


def _is_urgent(new: BlockStatus, old: BlockStatus) -> bool:
    """Whether more has changed than counts of workers, and how far a pod is on its way."""
    calm = msgspec.structs.replace(new, workers=old.workers)
    both = (new.job_status, old.job_status)
    if all(job is not None and job.state == "PENDING" and job.reason in _ON_ITS_WAY for job in both):
        calm = msgspec.structs.replace(calm, job_status=old.job_status, conditions=old.conditions)
    return calm != old


def _deadlines(world: BlockWorld, sight: Sight, now: float) -> Sequence[float | None]:
    due, load = due_of(world, sight), world.load
    waits: list[float | None] = []
    if sight.ending is not None:
        if sight.drain_by is not None and sight.drain_by > now:
            waits.append(sight.drain_by)
    else:
        waits += [due.pending, due.silent, due.walltime]
    if load is not None and not sight.proved and sight.registered_at is not None:
        waits.append(sight.registered_at + PROOF_SECONDS)
    if load is not None and load.idle_since is not None and any(pod.evictable is False for pod in world.pods):
        waits.append(load.idle_since + EVICTABLE_SECONDS)
    if world.refusal is not None and not sight.created:
        waits.append(world.refusal.retry_at)
    waits += [pod.deleting_by + UNREACHABLE_GRACE + 1 for pod in world.pods if pod.deleting_by and not pod.ended]
    return [one for one in waits if one is None or one > now]
