"""One block as it is seen: its state by its pods, whether it is to be ended, and the facts that its status keeps. Pure.

How a pod reads is `evidence`'s; what an end means to the pool is `blockyard.blocks.states.read_end`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from blockyard.blocks.ledger import PROOF_SECONDS
from blockyard.blocks.states import Ending, JobState, JobStatus, is_legal, read_end
from blockyard.kube import gangs
from blockyard.kube.evidence import status_of
from blockyard.kube.pods import Pod
from blockyard.kube.quantities import seconds
from blockyard.kube.times import instant
from blockyard_operator.core.objects import Block
from blockyard_operator.core.standing import read_job
from blockyard_operator.core.view import Load, QueueView, Refusal
from blockyard_operator.resources.block import EndingName

ASKED = JobStatus(state=JobState.PENDING, reason="Asked", message="its pods are being made")
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
    def present(self) -> set[int]:
        """Indices of its pods that are there, or were seen to go."""
        return {pod.index for pod in self.pods}

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


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at the world brings: the state of the block, and the facts that its status keeps."""

    job: JobStatus
    created: bool
    released_at: float | None
    registered_at: float | None
    silent_since: float | None
    proved: bool
    ending: EndingName | None
    drain_by: float | None


def look(world: BlockWorld, before: JobStatus, now: float) -> Sight:
    """Look at a block that has not ended; `before`: how it was seen last."""
    status, load = world.block.status, world.load
    created = status.pods.created or len(world.present) == world.block.spec.nodes
    job = _state(world, before, now, created=created)
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
    sight = Sight(
        job=job,
        created=created,
        released_at=now if released else instant(status.released_at),
        registered_at=registered_at,
        silent_since=silent_since,
        proved=status.proved or worked or (load is not None and load.done > 0),
        ending=status.ending,
        drain_by=instant(status.drain_by),
    )
    return _judge(world, _give_up(world, sight, now), now)


def _state(world: BlockWorld, before: JobStatus, now: float, *, created: bool) -> JobStatus:
    """The block's state by its pods, see `gangs`, and by what keeps them from being made."""
    nodes = world.block.spec.nodes
    status = gangs.state_of(world.pods, nodes, now)[1] if world.pods else None
    if status is not None and status.terminal:
        return status
    if created and len(world.pods) < nodes:
        missing = min(set(range(nodes)) - world.present)
        message = f"pod {world.block.meta.name}-{missing} is gone, and nobody saw how it ended"
        return JobStatus(state=JobState.MISSING, reason="PodGone", message=message, ended_at=now)
    refusal = world.refusal
    if refusal is not None and not created:
        state = JobState.FAILED if refusal.lasting else JobState.PENDING
        end_at = now if refusal.lasting else None
        return JobStatus(state=state, reason=refusal.reason, message=refusal.message, ended_at=end_at)
    if not (world.pool_there or world.pods):
        message = f"there is no WorkerPool {world.block.spec.pool!r} in its namespace"
        return JobStatus(state=JobState.PENDING, reason=_NO_POOL, message=message)
    if status is None or not created:
        return before if before.state is JobState.PENDING and before.reason != _NO_POOL else ASKED
    if not is_legal(before.state, status.state):
        status = msgspec.structs.replace(status, state=before.state)
    return status


def _give_up(world: BlockWorld, sight: Sight, now: float) -> Sight:
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


def _reason_to_end(world: BlockWorld, sight: Sight, now: float) -> tuple[EndingName | None, float | None]:
    """Why to end the block now, and the instant that it must not outlive."""
    spec = world.block.spec
    if spec.drain:
        known = {ending.value for ending in EndingName}
        return EndingName(world.block.ending) if world.block.ending in known else EndingName.REQUEST, None
    due = due_of(world, sight)
    if due.pending is not None and due.pending <= now:
        return EndingName.PENDING, None
    if due.silent is not None and due.silent <= now:
        return EndingName.UNREGISTERED, None
    if due.walltime is not None and due.walltime <= now:
        return EndingName.WALLTIME, due.walltime + seconds(spec.drain_timeout)
    return None, None


class Due(msgspec.Struct, frozen=True):
    """When the block is given up, for which reason; None: not."""

    pending: float | None = None
    silent: float | None = None
    walltime: float | None = None


def due_of(world: BlockWorld, sight: Sight) -> Due:
    spec, job = world.block.spec, sight.job
    pending = silent = walltime = None
    if job.state is JobState.PENDING and job.started_at is None:
        pending = (sight.released_at or world.block.meta.created_at) + seconds(spec.pending_deadline)
    if sight.silent_since is not None and world.queue is not None:
        silent = max(sight.silent_since, world.queue.since) + seconds(spec.register_timeout)
    if spec.walltime is not None and job.started_at is not None:
        walltime = job.started_at + seconds(spec.walltime) - seconds(spec.drain_timeout)
    return Due(pending, silent, walltime)


def _judge(world: BlockWorld, sight: Sight, now: float) -> Sight:
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


def _is_over(world: BlockWorld, sight: Sight, now: float) -> bool:
    """Nothing of a block that is being ended is left to wait for."""
    if sight.ending in (EndingName.UNREGISTERED, EndingName.PENDING):
        return True
    living = [pod for pod in world.pods if not (pod.ended or pod.gone)]
    return all(status_of(pod, now).terminal for pod in living)


def _read_own(world: BlockWorld, sight: Sight, job: JobStatus) -> JobStatus:
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
