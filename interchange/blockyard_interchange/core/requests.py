"""What a task asks for, compared with what a manager of its pool has."""

import math

from blockyard.wire.records import TaskSpec
from blockyard_interchange.core.settings import PoolSettings

_MOST = 1e9
"""Seconds, or cores: more than 30 years, or than there are."""


def slots(spec: TaskSpec, pool: PoolSettings) -> int:
    """How many workers of one manager a task keeps busy: the largest of its shares of cores, memory, accelerators."""
    shares = [1]
    if spec.cores:
        shares.append(math.ceil(spec.cores * pool.workers / (pool.cores or pool.workers)))
    if spec.memory_bytes and pool.memory_bytes:
        shares.append(math.ceil(spec.memory_bytes * pool.workers / pool.memory_bytes))
    if spec.accelerators and pool.accelerators:
        shares.append(math.ceil(spec.accelerators * pool.workers / pool.accelerators))
    return max(shares)


def is_plain(spec: TaskSpec) -> bool:
    """Whether a task asks for nothing in particular, so that any manager can run it: nearly all are so."""
    return spec == TaskSpec(spec.function, spec.pool, spec.name, tags=spec.tags)


def nonsense(spec: TaskSpec) -> str:
    """Which number no task can ask for; '' when all are sound. Sums are made of them, so none may be out of range."""
    for field in ("backoff", "timeout", "deadline", "cores"):
        value = getattr(spec, field)
        if not 0 <= value <= _MOST:  # false for NaN, too
            return f"{field}={value!r} is not a number from 0 to {_MOST:g}"
    for field in ("retries", "memory_bytes", "accelerators", "nodes", "ranks", "ranks_per_node"):
        count = getattr(spec, field)
        if not 0 <= count < 1 << 63:
            return f"{field}={count!r} is not a number from 0 to 2^63-1"
    if not -(1 << 31) <= spec.priority < 1 << 31:
        return f"priority={spec.priority!r} is not a number from -2^31 to 2^31-1"
    return ""


def managers_needed(spec: TaskSpec) -> int:
    """How many managers of one block a task takes together; 1 for an ordinary task."""
    if spec.nodes:
        return spec.nodes
    if spec.ranks and spec.ranks_per_node:
        return math.ceil(spec.ranks / spec.ranks_per_node)
    return 1


def impossible(spec: TaskSpec, name: str, pool: PoolSettings) -> str:
    """Why no manager of this pool could ever run the task, naming the largest that fits; '' when one could."""
    for field, asked, largest in (
        ("cores", spec.cores, pool.cores or float(pool.workers)),
        ("memory", spec.memory_bytes, pool.memory_bytes or math.inf),
        ("accelerators", spec.accelerators, pool.accelerators),
        ("nodes", managers_needed(spec), pool.nodes_per_block),
    ):
        if asked > largest:
            asked_for, fits = _amount(field, asked), _amount(field, largest)
            return f"{field}={asked_for} was asked for; the largest that fits in pool {name!r} is {field}={fits}"
    if 0 < pool.walltime <= spec.timeout:
        return (
            f"timeout={spec.timeout:g} was asked for, and blocks of pool {name!r} live {pool.walltime:g} s (walltime): "
            "none takes what may not end in time; ask for less"
        )
    if spec.ranks_per_node and not is_gang(spec):
        return f"ranks_per_node={spec.ranks_per_node} says nothing without ranks or nodes; give one of them, too"
    if spec.nodes and spec.ranks and spec.ranks_per_node and spec.ranks > spec.nodes * spec.ranks_per_node:
        return (
            f"ranks={spec.ranks} was asked for, but nodes={spec.nodes} with ranks_per_node={spec.ranks_per_node} "
            f"hold {spec.nodes * spec.ranks_per_node}"
        )
    return ""


def _amount(field: str, amount: float) -> str:
    """As it may be written in a task's options: 2.5, 300Mi."""
    return f"{amount / 2**20:.12g}Mi" if field == "memory" else f"{amount:g}"


def is_gang(spec: TaskSpec) -> bool:
    """Whether a task takes managers as a whole, by reservation."""
    return bool(spec.nodes or spec.ranks)
