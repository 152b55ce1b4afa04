"""`WorkerBlock`: one block, owned by its pool or applied by hand."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from blockyard.blocks.states import JobState
from blockyard.kube.kinds import LABEL
from blockyard_operator.resources.fields import Duration, Name, Record, Sentence, Time, Word, fixed, rule
from blockyard_operator.resources.shape import Conditions, FailureAction, FailureRule, Launcher, PodTemplate, WorkerSize


class BlockSpec(Record, frozen=True):
    """What to make. Nothing of its pods can be changed, but that it is drained: another block is another object."""

    RULES: ClassVar = (
        rule(
            "!(has(self.workersPerNode) && has(self.worker))",
            "give workersPerNode or worker, not both",
            ".workersPerNode",
        ),
        rule("self.drain || !oldSelf.drain", "a block that is being drained stays so; make a new one", ".drain"),
        rule("self.nodes == oldSelf.nodes", "nodes is immutable; make a new block", ".nodes"),
        rule("self.pool == oldSelf.pool", "pool is immutable; make a new block", ".pool"),
        rule("self.template == oldSelf.template", "template is immutable; make a new block", ".template"),
        *(
            fixed(name, "make a new block")
            for name in (
                "workersPerNode",
                "worker",
                "workerInit",
                "walltime",
                "queueName",
                "priorityClassName",
            )
        ),
        rule(
            "!has(self.walltime) || duration(self.walltime) > duration(self.drainTimeout)",
            "walltime is within drainTimeout: the block would never take tasks",
            ".walltime",
        ),
    )

    pool: Annotated[
        str,
        Meta(
            pattern=f"^({LABEL})?$",
            max_length=63,
            description="The WorkerPool whose tasks it runs; default: a pool of the block's own name, for it alone.",
        ),
    ] = ""
    nodes: Annotated[int, Meta(ge=1, le=1024)] = 1
    template: PodTemplate = PodTemplate()
    workers_per_node: Annotated[int, Meta(ge=1, le=4096)] | None = None
    worker: WorkerSize | None = None
    worker_init: Annotated[str, Meta(max_length=256)] | None = None
    launcher: Launcher = Launcher()
    walltime: Duration | None = None
    pending_deadline: Duration = "15m"
    register_timeout: Duration = "2m"
    drain: Annotated[bool, Meta(description="Give it nothing more, let what runs end, then end the block.")] = False
    drain_timeout: Duration = "60s"
    queue_name: Name | None = None
    priority_class_name: Annotated[str, Meta(max_length=253)] | None = None
    pod_failure_rules: Annotated[list[FailureRule], Meta(max_length=20)] = []


STATES: Final = [state.name for state in JobState]


class JobStatusRecord(Record, frozen=True, kw_only=True):
    """`blockyard.blocks.states.JobStatus` in a resource."""

    state: Annotated[str, Meta(extra_json_schema={"enum": STATES})]
    reason: Word = ""
    message: Sentence = ""
    exit_code: int | None = None
    signal: int | None = None
    started_at: Time | None = None
    ended_at: Time | None = None
    node: Annotated[str, Meta(max_length=253)] = ""
    log_tail: Annotated[str, Meta(max_length=2048)] = ""


class BlockWorkers(Record, frozen=True, omit_defaults=False):
    """Workers of the block's managers."""

    busy: int = 0
    idle: int = 0


class PodCounts(Record, frozen=True, omit_defaults=False):
    """Pods of the block."""

    wanted: int = 1
    created: bool = False
    """All of them were made; none is ever made again."""
    running: int = 0


class EndingName(StrEnum):
    """Why a block is being ended by the operator."""

    SCALE_IN = "scale-in"
    ROLLOUT = "rollout"
    SUSPEND = "suspend"
    REQUEST = "request"
    """`spec.drain` was set by hand."""
    WALLTIME = "walltime"
    UNREGISTERED = "unregistered"
    PENDING = "pending"
    """It did not start by its deadline."""


class BlockStatus(Record, frozen=True):
    """What the operator knows of a block."""

    observed_generation: int = 0
    job_status: JobStatusRecord | None = None
    pods: PodCounts = PodCounts()
    managers: int = 0
    workers: BlockWorkers = BlockWorkers()
    released_at: Time | None = None
    """When its pods were let out of a queue."""
    registered_at: Time | None = None
    """When its first manager registered."""
    silent_since: Time | None = None
    """Since when it runs without a manager."""
    proved: bool = False
    """It finished a task, or its managers have been there for a while."""
    ending: EndingName | None = None
    drain_by: Time | None = None
    action: FailureAction | None = None
    """What a rule of `podFailureRules` said of its end."""
    conditions: Conditions = []
