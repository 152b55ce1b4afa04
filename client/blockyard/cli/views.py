"""What ``-o json`` prints: records whose field names are a promise. New fields are added, none is renamed.

Times are UTC epoch seconds, durations seconds, sizes bytes; 0 where something has not happened.
"""

from typing import Any

import msgspec

from blockyard.ids import TaskId, task_name
from blockyard.wire import control


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all: a JSON object."""


class PoolView(View, frozen=True):
    """A pool in numbers; `submitted` to `late` count since the journal began."""

    pool: str
    queued: int
    assigned: int
    managers: int
    workers: int
    submitted: int
    done: int
    failed: int
    cancelled: int
    retried: int
    lost: int
    late: int


class StatusView(View, frozen=True):
    """An interchange in numbers."""

    profile: str
    endpoint: str
    opening: int
    tasks: int
    bytes: int
    sessions: int
    pools: list[PoolView]


class TaskView(View, frozen=True):
    """A task. `status` says how it ended, and is empty while it has not."""

    task: str
    name: str
    pool: str
    run: str
    state: str
    status: str
    block: str
    submitted_at: float


class TasksView(View, frozen=True):
    """Tasks in order of submission; `total` counts those that match, `tasks` holds at most the limit."""

    total: int
    tasks: list[TaskView]


class ExplainedView(View, frozen=True):
    """A task, and in words why it waits or how it ended."""

    task: TaskView
    sentences: list[str]


class TaskDetailView(ExplainedView, frozen=True):
    """With the end of what its last try printed; '' when nothing is kept of that."""

    output: str


class TryView(View, frozen=True):
    """What one try printed; a later try has a greater epoch."""

    epoch: int
    text: str


class OutputView(View, frozen=True):
    """What a task printed, oldest try first."""

    task: str
    tries: list[TryView]


class BlockView(View, frozen=True):
    """A block. `state` is one of the ten names of JobState."""

    block: str
    pool: str
    state: str
    reason: str
    message: str
    exit_code: int | None
    signal: int | None
    started_at: float
    ended_at: float
    node: str
    managers: int
    workers: int
    busy: int
    draining: bool
    idle_seconds: float


class CachedFunctionView(View, frozen=True):
    """The cached results of one function; `seconds`: that they took to be computed, together."""

    pool: str
    function: str
    results: int
    bytes: int
    seconds: float
    oldest: float
    newest: float


class PoolCacheView(View, frozen=True):
    """What the cache has been good for in a pool, since the journal began."""

    pool: str
    hits: int
    misses: int
    evicted: int


class CacheView(View, frozen=True):
    """What is cached. `bytes` and the limits are of all pools together."""

    bytes: int
    max_bytes: int
    ttl: float
    pools: list[PoolCacheView]
    functions: list[CachedFunctionView]


class TopPool(View, frozen=True):
    """A pool now. Rates are of the time between two looks."""

    pool: str
    queued: int
    assigned: int
    workers: int
    busy: int
    done_per_second: float
    failed_per_second: float
    done: int
    failed: int
    lost: int
    resident_bytes: int


class TopView(View, frozen=True):
    """All of it; the busiest blocks first."""

    tasks: int
    sessions: int
    pools: list[TopPool]
    blocks: list[BlockView]


class CountView(View, frozen=True):
    """How many tasks or managers an order reached."""

    count: int


class SystemView(View, frozen=True):
    """A system of this machine. `state`: running, starting, stopped or crashed."""

    name: str
    state: str
    pid: int
    since: float
    folder: str
    endpoint: str
    url: str


class KeyView(View, frozen=True):
    """A key that is allowed, or whose file is there though it is not."""

    name: str
    kind: str
    allowed: bool
    public: str
    file: str
    pools: list[str] = []
    """The only ones that a client's key is good for; empty: all."""


class ManagerView(View, frozen=True):
    """A manager, which is one pod of a block. `busy`: workers that its tries keep busy; `held`: tries that it has."""

    manager: str
    pool: str
    block: str
    node: str
    workers: int
    busy: int
    held: int
    draining: bool
    silent_seconds: float
    resident_bytes: int


def manager_of(line: control.ManagerLine) -> ManagerView:
    """From the wire."""
    return ManagerView(
        manager=line.manager,
        pool=line.pool,
        block=line.block,
        node=line.node,
        workers=line.workers,
        busy=min(line.workers, line.load),
        held=line.held,
        draining=line.draining,
        silent_seconds=line.silent_seconds,
        resident_bytes=line.resident_bytes,
    )


def cache_of(found: control.CacheIs) -> CacheView:
    """As it came."""
    return CacheView(
        bytes=found.bytes,
        max_bytes=found.max_bytes,
        ttl=found.ttl,
        pools=[PoolCacheView(**msgspec.structs.asdict(one)) for one in found.pools],
        functions=[CachedFunctionView(**msgspec.structs.asdict(one)) for one in found.functions],
    )


def pool_of(status: control.PoolStatus) -> PoolView:
    """From the wire."""
    return PoolView(**{name: getattr(status, name) for name in PoolView.__struct_fields__})


def task_of(line: control.TaskLine) -> TaskView:
    """From the wire; the identifier as people write it."""
    values = {name: getattr(line, name) for name in TaskView.__struct_fields__}
    return TaskView(**{**values, "task": task_name(TaskId(line.task))})


def block_of(line: control.BlockLine) -> BlockView:
    """From the wire."""
    own = {name: getattr(line, name) for name in ("pool", "managers", "workers", "busy", "draining", "idle_seconds")}
    return BlockView(**own, **{name: getattr(line.report, name) for name in control.BlockReport.__struct_fields__})


class FaultView(View, frozen=True):
    """One thing that is wrong with a workflow file."""

    file: str
    path: str
    reason: str


class LintView(View, frozen=True):
    """All that is wrong."""

    faults: list[FaultView]


class RunView(View, frozen=True):
    """A workflow run; `counts` are its steps by state."""

    run: str
    phase: str
    started_at: float
    ended_at: float
    counts: dict[str, int]


class RunsView(View, frozen=True):
    """Runs, youngest first."""

    runs: list[RunView]


class StepView(View, frozen=True):
    """A step of a run. `parts`: tasks of its sweep, while these run."""

    step: str
    task: str
    state: str
    seconds: float
    message: str
    outputs: dict[str, Any]
    parts: int
    open_parts: int


class StepsView(View, frozen=True):
    """A run and some of its steps."""

    run: RunView
    steps: list[StepView]
