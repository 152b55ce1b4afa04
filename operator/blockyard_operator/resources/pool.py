"""`WorkerPool`: what a user writes and what the operator answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from blockyard.blocks.pool import Durability
from blockyard_operator.resources.fields import Duration, Name, Open, Record, Sentence, Share, Time, Word, fixed, rule
from blockyard_operator.resources.shape import Conditions, FailureRule, Launcher, PodTemplate, WorkerSize

Count = Annotated[int, Meta(ge=0, le=100_000)]


class Blocks(Record, frozen=True):
    """How many blocks there may be. `min`, `init`, `max` bound what demand asks for; `replicas` fixes the number."""

    RULES: ClassVar = (
        rule("self.min <= self.max", "min is above max", ".min"),
        rule(
            "!has(self.init) || (self.min <= self.init && self.init <= self.max)",
            "init is not between min and max",
            ".init",
        ),
        rule("self.warm <= self.max", "warm is above max", ".warm"),
    )

    min: Count = 0
    init: Annotated[Count, Meta(description="Started at once when the pool is made; default: min.")] | None = None
    max: Annotated[int, Meta(ge=1, le=100_000)] = 10
    warm: Annotated[Count, Meta(description="Idle ones kept beyond what demand uses, be it nothing.")] = 0
    replicas: Annotated[Count, Meta(description="Set (kubectl scale): exactly so many; unset: by demand.")] | None = (
        None
    )


class StrategyName(StrEnum):
    """See `blockyard.blocks.scaling`."""

    AUTO = "auto"
    SIMPLE = "simple"
    NONE = "none"


class Strategy(Record, frozen=True):
    """How the number of blocks follows demand."""

    RULES: ClassVar = (rule("duration(self.idleTimeout) >= duration('0s')", "idleTimeout is negative", ".idleTimeout"),)

    name: StrategyName = StrategyName.AUTO
    idle_timeout: Annotated[Duration, Meta(description="A block idle for so long may go.")] = "60s"
    start_cost: Annotated[Duration, Meta(description="Less waiting work than this is not worth a further block.")] = (
        "5s"
    )
    hysteresis: Annotated[float, Meta(ge=0, le=10, description="Spare blocks kept, as a share of those needed.")] = 0.1


class ErrorPolicyName(StrEnum):
    """See `blockyard.blocks.errors`."""

    BREAKER = "breaker"
    WINDOWED = "windowed"
    SIMPLE = "simple"
    NONE = "none"


class ErrorPolicy(Record, frozen=True):
    """What follows when blocks end badly before they have proved themselves."""

    name: ErrorPolicyName = ErrorPolicyName.BREAKER
    threshold: Annotated[int, Meta(ge=1, le=16, description="So many bad blocks in a row are too many.")] = 3
    pause: Annotated[Duration, Meta(description="First pause; it doubles with each further bad block.")] = "10s"
    max_pause: Duration = "5m"
    unproved_blocks: Annotated[
        int,
        Meta(ge=1, le=1000, description="Blocks started at a time while none of this template has proved itself."),
    ] = 8
    pods_per_minute: Annotated[
        int,
        Meta(ge=1, le=6000, description="Most pods created in any minute while blocks fail at their start."),
    ] = 60


class Drain(Record, frozen=True):
    """How blocks are given up: nothing new is given to them, and what runs may end."""

    timeout: Annotated[Duration, Meta(description="Seconds that running tasks have; then they are run elsewhere.")] = (
        "60s"
    )


class Monitoring(Record, frozen=True):
    """How what the pool's workers have to tell travels to the release's hub."""

    radio: (
        Annotated[
            str,
            Meta(
                pattern=r"^[a-z][a-z0-9_-]*$",
                max_length=63,
                description="'none', 'zmq', 'interchange', 'udp', or another that the hub has; default: 'zmq' when "
                "there is a hub, else 'none'.",
            ),
        ]
        | None
    ) = None
    settings: Annotated[Open, Meta(description="Of the radio; addresses and keys are the hub's.")] = {}
    sample_period: Annotated[Duration, Meta(description="Between two looks at what tasks use; '0s': none.")] = "1s"


class Rollout(Record, frozen=True):
    """How blocks are replaced when what makes them changes."""

    max_surge: Annotated[Share, Meta(description="Blocks beyond the wanted number meanwhile.")] = 1
    max_unavailable: Annotated[Share, Meta(description="Blocks that may be missing meanwhile.")] = 0
    paused: bool = False


class PoolSpec(Record, frozen=True):
    """A pool of like blocks with one queue of tasks."""

    RULES: ClassVar = (
        rule(
            "!(has(self.workersPerNode) && has(self.worker))",
            "give workersPerNode or worker, not both",
            ".workersPerNode",
        ),
        rule(
            "!has(self.walltime) || duration(self.walltime) > duration(self.drain.timeout)",
            "walltime is within drain.timeout: a block would never take tasks",
            ".walltime",
        ),
        rule(
            "!has(self.pendingDeadline) || duration(self.pendingDeadline) > duration('0s')",
            "pendingDeadline is no time",
            ".pendingDeadline",
        ),
        fixed("queueName", "queued blocks belong to their queue"),
        rule(
            "(self.durability == 'memory') == (oldSelf.durability == 'memory')",
            "durability cannot become memory, nor cease to be it; make a new pool",
            ".durability",
        ),
    )

    template: PodTemplate = PodTemplate()
    nodes_per_block: Annotated[int, Meta(ge=1, le=1024, description="Pods that are made, drained and lost as one.")] = 1
    workers_per_node: (
        Annotated[int, Meta(ge=1, le=4096, description="Default: what `worker` says, else one per requested core.")]
        | None
    ) = None
    worker: WorkerSize | None = None
    worker_init: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$",
                max_length=256,
                description="Called once in each worker: 'package.module:function'.",
            ),
        ]
        | None
    ) = None
    blocks: Blocks = Blocks()
    durability: Annotated[
        Durability,
        Meta(description="What an acknowledged task survives: nothing, the death of any process, the loss of power."),
    ] = Durability.FSYNC
    parallelism: Annotated[
        float, Meta(ge=0, le=1, description="Slots wanted for each slot's worth of tasks; 0: one block for any.")
    ] = 1.0
    strategy: Strategy = Strategy()
    error_policy: ErrorPolicy = ErrorPolicy()
    walltime: Annotated[Duration, Meta(description="A block ends after so long, drained in time.")] | None = None
    pending_deadline: Annotated[
        Duration,
        Meta(description="A block not started by then has failed; time in a queue is not counted."),
    ] = "15m"
    register_timeout: Annotated[
        Duration, Meta(description="A block that runs without a registered manager for so long is given up.")
    ] = "2m"
    drain: Drain = Drain()
    launcher: Launcher = Launcher()
    monitoring: Monitoring = Monitoring()
    queue_name: Annotated[Name, Meta(description="LocalQueue of Kueue; each block is a group of its own.")] | None = (
        None
    )
    priority_class_name: Annotated[str, Meta(max_length=253)] | None = None
    suspend: Annotated[bool, Meta(description="No blocks; those there are drained. Tasks wait.")] = False
    rollout: Rollout = Rollout()
    pod_failure_rules: Annotated[list[FailureRule], Meta(max_length=20)] = []


class BlockCounts(Record, frozen=True, omit_defaults=False):
    """Blocks by what they do now."""

    desired: int = 0
    living: int = 0
    ready: int = 0
    """With registered managers, and taking tasks."""
    pending: int = 0
    idle: int = 0
    draining: int = 0
    outdated: int = 0
    """Made from an earlier form of the pool."""


class WorkerCounts(Record, frozen=True, omit_defaults=False):
    """Workers of registered managers."""

    busy: int = 0
    idle: int = 0


class TaskCounts(Record, frozen=True, omit_defaults=False):
    """Tasks of the pool, in numbers of workers that they want or have."""

    waiting: int = 0
    running: int = 0


class LastFailure(Record, frozen=True):
    """The last block that ended badly."""

    block: Annotated[str, Meta(max_length=253)]
    reason: Word = ""
    message: Sentence = ""
    time: Time | None = None


class PoolStatus(Record, frozen=True):
    """What the operator knows of a pool."""

    observed_generation: int = 0
    conditions: Conditions = []
    blocks: BlockCounts = BlockCounts()
    workers: WorkerCounts = WorkerCounts()
    tasks: TaskCounts = TaskCounts()
    selector: Annotated[str, Meta(max_length=512)] = ""
    template_hash: Word = ""
    last_ordinal: int = 0
    """Of the blocks made so far, so that no name comes twice."""
    opened: bool = False
    """The initial blocks have been made."""
    proved: bool = False
    """A block made from the present template worked."""
    last_failure: LastFailure | None = None
