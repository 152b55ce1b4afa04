"""One block: from what is seen of it to what is to be done, and to its status. Pure.

A block's pods are made once, and never again: a block that lost one has ended, and its pool makes another. How a pod
reads is `evidence`'s; what an end means to the pool is `blockyard.blocks.states.read_end`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from blockyard.blocks.ledger import PROOF_SECONDS
from blockyard.blocks.scaling import earliest
from blockyard.blocks.states import Ending, JobState, JobStatus, is_legal, read_end
from blockyard.kube import gangs
from blockyard.kube.ends import UNREACHABLE_GRACE
from blockyard.kube.evidence import status_of
from blockyard.kube.pods import Pod
from blockyard.kube.quantities import seconds
from blockyard.kube.times import instant, text
from blockyard_operator.core import plan as do
from blockyard_operator.core.failures import action_of
from blockyard_operator.core.objects import Block
from blockyard_operator.core.standing import conditions_of, read_job, written
from blockyard_operator.core.view import Load, QueueView, Refusal
from blockyard_operator.resources.block import BlockStatus, BlockWorkers, EndingName, PodCounts

EVICTABLE_SECONDS: Final = 10.0
"""A block idle for so long may lose its node to an autoscaler; sooner, each pause between tasks would cost a write."""

_ASKED = JobStatus(state=JobState.PENDING, reason="Asked", message="its pods are being made")
_NO_POOL: Final = "NoPool"
_READ: Final[Mapping[EndingName, Ending]] = {
    EndingName.SCALE_IN: Ending.SCALE_IN,
    EndingName.ROLLOUT: Ending.SCALE_IN,
    EndingName.SUSPEND: Ending.SCALE_IN,
    EndingName.WALLTIME: Ending.WALLTIME,
    EndingName.UNREGISTERED: Ending.UNREGISTERED,
}


class BlockWorld(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a block. `pods`: those that are there, and the last sight of those that have gone.

    `queue`: what the interchange says of the block's pool, None while it says nothing. `has_service`, `has_group`:
    whether the objects that a gang needs are there. `wants_group`: the cluster serves PodGroups.
    """

    block: Block
    pods: tuple[Pod, ...] = ()
    queue: QueueView | None = None
    refusal: Refusal | None = None
    has_secret: bool = True
    announced: bool = True
    """The interchange lets the key of its pool in: a manager that comes before that may wait for long."""
    pool_there: bool = True
    """Or it is a pool of its own."""
    has_service: bool = False
    has_group: bool = False
    wants_group: bool = False

    @property
    def load(self) -> Load | None:
        """Of its managers; None without any, or while nothing is known."""
        found = self.queue.loads.get(self.block.meta.name) if self.queue else None
        return found if found is not None and found.managers > 0 else None

    @property
    def last_load(self) -> Load | None:
        """The same, and while nothing is known what was said last: a silent interchange has not lost its managers."""
        status = self.block.status
        if self.queue is not None or not status.managers:
            return self.load
        workers = status.workers
        return Load(managers=status.managers, workers=workers.busy + workers.idle, busy=workers.busy)


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
    sight = _look(world, job or _ASKED, now)
    if sight.job.terminal:
        return _end(world, sight, now)
    wake_at = earliest(*_deadlines(world, sight, now))
    if made := _make(world, sight, now):
        return do.Plan(effects=tuple(made), wake_at=wake_at)  # the status tells of it when it is there
    effects = (*_drain(world, sight, now), *_mark(world, sight, now), *_write(world, sight, now))
    return do.Plan(effects=effects, wake_at=wake_at)


class _Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at the world brings: the state of the block, and the facts that its status keeps."""

    job: JobStatus
    created: bool
    released_at: float | None
    registered_at: float | None
    silent_since: float | None
    proved: bool
    ending: EndingName | None
    drain_by: float | None
    pod: Pod | None = None
    """The one that speaks for the block."""


# --- looking ----------------------------------------------------------------------------------------------------------


def _look(world: BlockWorld, before: JobStatus, now: float) -> _Sight:
    status, load = world.block.status, world.load
    created = status.pods.created or len(_present(world)) == world.block.spec.nodes
    speaker, job = _state(world, before, now, created=created)
    released = before.state is JobState.HELD and job.state is JobState.PENDING
    registered_at = instant(status.registered_at)
    if registered_at is None and load is not None:
        registered_at = now
    silent_since = instant(status.silent_since)
    if load is not None or job.state is not JobState.RUNNING:
        silent_since = None
    elif silent_since is None and world.queue is not None:
        silent_since = now
    worked = load is not None and registered_at is not None and now - registered_at >= PROOF_SECONDS
    sight = _Sight(
        job=job,
        created=created,
        released_at=now if released else instant(status.released_at),
        registered_at=registered_at,
        silent_since=silent_since,
        proved=status.proved or worked or (load is not None and load.done > 0),
        ending=status.ending,
        drain_by=instant(status.drain_by),
        pod=speaker,
    )
    return _judge(world, _give_up(world, sight, now), now)


def _present(world: BlockWorld) -> set[int]:
    return {pod.index for pod in world.pods}


def _state(world: BlockWorld, before: JobStatus, now: float, *, created: bool) -> tuple[Pod | None, JobStatus]:
    """The block's state by its pods, see `gangs`, and by what keeps them from being made."""
    nodes = world.block.spec.nodes
    pod, status = gangs.state_of(world.pods, nodes, now) if world.pods else (None, None)
    if status is not None and status.terminal:
        return pod, status
    if created and len(world.pods) < nodes:
        missing = min(set(range(nodes)) - _present(world))
        message = f"pod {world.block.meta.name}-{missing} is gone, and nobody saw how it ended"
        return None, JobStatus(state=JobState.MISSING, reason="PodGone", message=message, ended_at=now)
    refusal = world.refusal
    if refusal is not None and not created:
        state = JobState.FAILED if refusal.lasting else JobState.PENDING
        end_at = now if refusal.lasting else None
        return None, JobStatus(state=state, reason=refusal.reason, message=refusal.message, ended_at=end_at)
    if not (world.pool_there or world.pods):
        message = f"there is no WorkerPool {world.block.spec.pool!r} in its namespace"
        return None, JobStatus(state=JobState.PENDING, reason=_NO_POOL, message=message)
    if status is None or not created:
        return None, before if before.state is JobState.PENDING and before.reason != _NO_POOL else _ASKED
    if not is_legal(before.state, status.state):
        status = msgspec.structs.replace(status, state=before.state)
    return pod, status


def _give_up(world: BlockWorld, sight: _Sight, now: float) -> _Sight:
    """Begin to end the block, if it is asked for or due; its managers get time for what they run."""
    if sight.ending is not None or sight.job.terminal:
        return sight
    ending, latest = _reason_to_end(world, sight, now)
    if ending is None:
        return sight
    drain_by = now
    if world.last_load is not None:
        drain_by = now + seconds(world.block.spec.drain_timeout)
        drain_by = drain_by if latest is None else min(drain_by, latest)
    return msgspec.structs.replace(sight, ending=ending, drain_by=drain_by)


def _reason_to_end(world: BlockWorld, sight: _Sight, now: float) -> tuple[EndingName | None, float | None]:
    """Why to end the block now, and the instant that it must not outlive."""
    spec = world.block.spec
    if spec.drain:
        known = {ending.value for ending in EndingName}
        return EndingName(world.block.ending) if world.block.ending in known else EndingName.REQUEST, None
    due = _due(world, sight)
    if due.pending is not None and due.pending <= now:
        return EndingName.PENDING, None
    if due.silent is not None and due.silent <= now:
        return EndingName.UNREGISTERED, None
    if due.walltime is not None and due.walltime <= now:
        return EndingName.WALLTIME, due.walltime + seconds(spec.drain_timeout)
    return None, None


class _Due(msgspec.Struct, frozen=True):
    """When the block is given up, for which reason; None: not."""

    pending: float | None = None
    silent: float | None = None
    walltime: float | None = None


def _due(world: BlockWorld, sight: _Sight) -> _Due:
    spec, job = world.block.spec, sight.job
    pending = silent = walltime = None
    if job.state is JobState.PENDING and job.started_at is None:
        pending = (sight.released_at or world.block.meta.created_at) + seconds(spec.pending_deadline)
    if sight.silent_since is not None and world.queue is not None:
        silent = max(sight.silent_since, world.queue.since) + seconds(spec.register_timeout)
    if spec.walltime is not None and job.started_at is not None:
        walltime = job.started_at + seconds(spec.walltime) - seconds(spec.drain_timeout)
    return _Due(pending, silent, walltime)


def _judge(world: BlockWorld, sight: _Sight, now: float) -> _Sight:
    """Read an end as the block's, and see whether a block that is being ended has nothing more to wait for."""
    job = sight.job
    if sight.ending is None:
        if job.terminal:
            registered = sight.registered_at is not None
            job = read_end(job, None, registered=registered) if job.reason in _SAYS_LITTLE else job
        return msgspec.structs.replace(sight, job=job)
    if not _is_over(world, sight, now):
        if job.terminal:  # of a gang that is being drained, the first is done; the others may still work
            job = JobStatus(state=JobState.RUNNING, reason="Draining", message=f"{job.message}; others still run")
        return msgspec.structs.replace(sight, job=job)
    if not job.terminal:
        job = msgspec.structs.replace(job, state=JobState.CANCELLED, reason="Ended", ended_at=now, exit_code=None)
    return msgspec.structs.replace(sight, job=_read_own(world, sight, job))


_SAYS_LITTLE: Final = frozenset({"ExitCode", "Completed", "PodFailed"})
"""Ends of which it is worth saying first that no manager ever registered."""


def _is_over(world: BlockWorld, sight: _Sight, now: float) -> bool:
    """Nothing of a block that is being ended is left to wait for."""
    if sight.ending in (EndingName.UNREGISTERED, EndingName.PENDING):
        return True
    living = [pod for pod in world.pods if not (pod.ended or pod.gone)]
    return all(status_of(pod, now).terminal for pod in living)


def _read_own(world: BlockWorld, sight: _Sight, job: JobStatus) -> JobStatus:
    """An end that we brought about ourselves."""
    assert sight.ending is not None
    if sight.ending is EndingName.REQUEST:
        said = f"drained on request ({job.state}: {job.message})"
        return msgspec.structs.replace(job, state=JobState.CANCELLED, reason="Drained", message=said)
    if sight.ending is EndingName.PENDING:
        last = read_job(world.block.status.job_status)
        why = f"{sight.job.reason}: {sight.job.message}" if not sight.job.terminal or last is None else last.message
        said = f"did not start within {world.block.spec.pending_deadline}: {why}"
        return msgspec.structs.replace(job, state=JobState.FAILED, reason="PendingDeadline", message=said)
    return read_end(job, _READ[sight.ending], registered=sight.registered_at is not None)


# --- doing ------------------------------------------------------------------------------------------------------------


def _make(world: BlockWorld, sight: _Sight, now: float) -> Sequence[do.Effect]:
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
    missing = sorted(set(range(block.spec.nodes)) - _present(world))
    return [*effects, *(do.CreatePod(block.meta, index) for index in missing)]


def _drain(world: BlockWorld, sight: _Sight, now: float) -> Sequence[do.Effect]:
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


def _mark(world: BlockWorld, sight: _Sight, now: float) -> Sequence[do.Effect]:
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


def _end(world: BlockWorld, sight: _Sight, now: float) -> do.Plan:
    """The end is told first: whatever waits for it must not wait for the pods to be cleared away."""
    block = world.block
    told = do.SayGone(block.queue, block.meta.name, sight.job.reason)
    return do.Plan(effects=(told, *_write(world, sight, now), *_clear(world, sight.job)))


def _refuse(world: BlockWorld, reason: str, message: str, now: float) -> do.Plan:
    job = read_job(world.block.status.job_status)
    if job is not None and job.terminal:
        return do.Plan()
    end = JobStatus(state=JobState.FAILED, reason=reason, message=message, ended_at=now)
    nothing = _Sight(
        job=end, created=False, released_at=None, registered_at=None, silent_since=None, proved=False, ending=None,
        drain_by=None,
    )  # fmt: skip
    return do.Plan(effects=tuple(_write(world, nothing, now)))


def _write(world: BlockWorld, sight: _Sight, now: float) -> Sequence[do.Effect]:
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


def _deadlines(world: BlockWorld, sight: _Sight, now: float) -> Sequence[float | None]:
    due, load = _due(world, sight), world.load
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
