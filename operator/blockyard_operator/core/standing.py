"""Status as it is written: job statuses, conditions with their transition times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blockyard.blocks.states import JobState, JobStatus
from blockyard.kube.times import instant, text
from blockyard_operator.core.objects import Block
from blockyard_operator.core.view import Load
from blockyard_operator.resources.block import JobStatusRecord
from blockyard_operator.resources.shape import Condition, ConditionStatus

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


class Said(NamedTuple):
    """A condition as it holds now."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def truth(holds: bool) -> ConditionStatus:  # noqa: FBT001 - it is what a condition says
    """Of a condition that is known."""
    return TRUE if holds else FALSE


def read_job(record: JobStatusRecord | None) -> JobStatus | None:
    """A written job status."""
    if record is None:
        return None
    return JobStatus(
        state=JobState[record.state],
        reason=record.reason,
        message=record.message,
        exit_code=record.exit_code,
        signal=record.signal,
        started_at=instant(record.started_at),
        ended_at=instant(record.ended_at),
        node=record.node,
        log_tail=record.log_tail,
    )


def written(job: JobStatus, before: JobStatusRecord | None) -> JobStatusRecord:
    """A job status to write; the first known start is kept."""
    started = text(job.started_at) if job.started_at is not None else None
    return JobStatusRecord(
        state=job.state.name,
        reason=job.reason[:64],
        message=job.message,
        exit_code=job.exit_code,
        signal=job.signal,
        started_at=before.started_at if before is not None and before.started_at else started,
        ended_at=text(job.ended_at) if job.ended_at is not None else None,
        node=job.node or (before.node if before is not None else ""),
        log_tail=job.log_tail,
    )


def conditions(before: Sequence[Condition], now_said: Sequence[Said], generation: int, now: float) -> list[Condition]:
    """The conditions to write: one whose status stays the same keeps its transition time."""
    old = {one.type: one for one in before}
    return [_condition(old.get(said.type), said, generation, now) for said in now_said]


def _condition(old: Condition | None, said: Said, generation: int, now: float) -> Condition:
    same = old is not None and old.status is said.status
    return Condition(
        type=said.type,
        status=said.status,
        reason=said.reason[:64],
        message=said.message[:1024],
        observed_generation=generation,
        last_transition_time=old.last_transition_time if same and old is not None else text(now),
    )


def conditions_of(block: Block, job: JobStatus, load: Load | None, now: float) -> list[Condition]:
    """Of a block: Ready while all its managers are there and take tasks."""
    if job.terminal:
        said = Said("Ready", FALSE, job.reason or "Ended", job.message)
    elif block.spec.drain:
        said = Said("Ready", FALSE, "Draining", "it takes no more tasks")
    elif load is not None and load.managers >= block.spec.nodes:
        said = Said("Ready", TRUE, "Registered")
    elif job.state is JobState.RUNNING:
        said = Said("Ready", FALSE, "NotRegistered", "not all of its managers have registered")
    else:
        said = Said("Ready", FALSE, job.reason or "Pending", job.message)
    return conditions(block.status.conditions, [said], block.meta.generation, now)
