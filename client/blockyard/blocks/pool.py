"""The configuration of a pool of this machine: one frozen record, validated once, passed whole.

Values come from a call or from a file (`LocalPool.read`); either way all faults are reported together, each with its
field. What the fields lead to is left to `executor` (blocks), and to the manager (workers).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from blockyard import plugins
from blockyard.blocks.channels import Channel
from blockyard.blocks.errors import ErrorHandler, ErrorLimits
from blockyard.blocks.faults import Fault, PoolInvalid
from blockyard.blocks.provider import Provider
from blockyard.blocks.scaling import Policy, Strategy
from blockyard.plugins import PluginError
from blockyard.suggestion import hint, nearest

UNITS: Final = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
"""Suffixes of amounts of memory, as Kubernetes writes them."""

DOTTED: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
ACCELERATOR: Final = re.compile(r"[^\s,]+")
REFERENCE: Final = re.compile(rf"{DOTTED.pattern}:{DOTTED.pattern}")


class Durability(StrEnum):
    """What an acknowledged task survives: nothing; the death of any process; the loss of power."""

    MEMORY = "memory"
    JOURNAL = "journal"
    FSYNC = "fsync"


class LocalPool(msgspec.Struct, frozen=True, kw_only=True):
    """A pool of blocks on this machine. Raises PoolInvalid, which lists every fault, when it makes no sense.

    workers_per_node: tasks that a node runs at a time; a fraction lets several nodes share what one worker is worth
        in the arithmetic of scaling, and a manager then has one worker.
    nodes_per_block: managers that are started, drained and lost together.
    min_blocks, init_blocks, max_blocks: bounds of scaling, and how many are started at once when the pool opens.
    warm_blocks: idle blocks kept beyond what demand uses, be it nothing; by strategy "auto".
    parallelism: slots wanted for each slot's worth of tasks, 0 to 1.
    idle_timeout: seconds that a block may be idle; 30 since a block here costs a fraction of a second to start again.
    start_cost: seconds until a new block works; less waiting work than that is not worth one.
    strategy, error_policy: the name of a plug-in, or the function itself.
    error_limits: the figures for the error policy.
    channel: where the blocks' programs run, an `SSHChannel` for example; None: this machine. One for each pool.
    provider: what makes the blocks instead of that; the name of a plug-in, or one that no other pool uses.
    launcher, launcher_options: the name of a plug-in, and further words for the tool behind it.
    walltime: seconds after which a block ends; None: never. It is drained in time for its last tasks to end, and those
        whose `timeout` is as long are refused.
    drain_timeout: seconds that a drained block has to finish what runs.
    register_timeout: seconds that a block has to register a manager before it counts as MISSING.
    cores_per_worker, memory_per_worker: share of a node for each worker ("2Gi", or bytes); None: not limited.
    accelerators: how many of this machine's the pool has, or their names; each node of each block has an equal share of
        them, so give a multiple of `max_blocks` times `nodes_per_block`. A task finds its own in its environment.
    initializer, initargs: called once in each worker; worker_init: the same, by reference ("module:function").
    preload: modules imported once per manager, before its workers are forked.
    max_tasks_per_worker: a worker is replaced after so many; None: never.
    max_rss: a worker that holds more memory than this between two tasks ("2Gi", or bytes) is replaced; None: never.
    pin_cores: each worker stays on its own share of the node's cores.
    durability: what an acknowledged task survives.
    """

    workers_per_node: float = 1
    nodes_per_block: int = 1
    min_blocks: int = 0
    init_blocks: int = 0
    max_blocks: int = 1
    warm_blocks: int = 0
    parallelism: float = 1.0
    idle_timeout: float = 30.0
    start_cost: float = 0.5
    strategy: str | Strategy = "auto"
    error_policy: str | ErrorHandler = "breaker"
    error_limits: ErrorLimits = msgspec.field(default_factory=ErrorLimits)
    channel: Channel | None = None
    provider: str | Provider = "local"
    launcher: str = "per-node"
    launcher_options: tuple[str, ...] = ()
    walltime: float | None = None
    drain_timeout: float = 30.0
    register_timeout: float = 60.0
    cores_per_worker: float | None = None
    memory_per_worker: str | int | None = None
    accelerators: int | tuple[str, ...] = 0
    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    worker_init: str | None = None
    preload: tuple[str, ...] = ()
    max_tasks_per_worker: int | None = None
    max_rss: str | int | None = None
    pin_cores: bool = False
    durability: Durability = Durability.JOURNAL

    def __post_init__(self) -> None:
        faults = find_faults(self)
        if faults:
            raise PoolInvalid(faults)
        msgspec.structs.force_setattr(self, "durability", Durability(self.durability))

    @classmethod
    def read(cls, table: Mapping[str, object]) -> LocalPool:
        """Make a pool from a table of a configuration file; an unknown key is a fault that names the nearest one."""
        known = cls.__struct_fields__
        faults = [Fault(key, f"unknown{nearest(key, known)}") for key in table if key not in known]
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
        limits = values.get("error_limits")
        if isinstance(limits, Mapping):
            try:
                values["error_limits"] = msgspec.convert(limits, ErrorLimits)
            except msgspec.ValidationError as error:
                faults.append(Fault("error_limits", str(error)))
                values["error_limits"] = ErrorLimits()
        try:
            pool = cls(**{key: value for key, value in values.items() if key in known})  # type: ignore[arg-type]  # checked inside
        except PoolInvalid as invalid:
            raise PoolInvalid([*faults, *invalid.faults]) from None
        if faults:
            raise PoolInvalid(faults)
        return pool

    @property
    def slots_per_block(self) -> float:
        """Tasks that a whole block runs at a time."""
        return self.workers_per_node * self.nodes_per_block

    @property
    def is_here(self) -> bool:
        """Whether its blocks are children of the process that keeps them."""
        return self.channel is None and self.provider == "local"

    @property
    def accelerators_per_node(self) -> int:
        """How many a manager has."""
        count = self.accelerators if isinstance(self.accelerators, int) else len(self.accelerators)
        return count // (self.max_blocks * self.nodes_per_block)

    @property
    def memory_per_worker_bytes(self) -> int | None:
        """The memory of a worker, None when it is not limited."""
        return None if self.memory_per_worker is None else parse_bytes(self.memory_per_worker)

    @property
    def max_rss_bytes(self) -> int | None:
        """The memory above which a worker is replaced between two tasks, None when it is not."""
        return None if self.max_rss is None else parse_bytes(self.max_rss)

    @property
    def policy(self) -> Policy:
        """What the scaling strategy needs of all this."""
        return Policy(
            min_blocks=self.min_blocks,
            init_blocks=self.init_blocks,
            max_blocks=self.max_blocks,
            slots_per_block=self.slots_per_block,
            parallelism=self.parallelism,
            idle_timeout=self.idle_timeout,
            warm_blocks=self.warm_blocks,
            start_cost=self.start_cost,
        )


def parse_bytes(amount: str | int) -> int:
    """Read an amount of memory: bytes, or a number with one of `UNITS`. Raises ValueError saying what is wanted."""
    if isinstance(amount, int) and not isinstance(amount, bool):
        return amount
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(amount))
    if match is None or match[2] not in UNITS:
        raise ValueError(f"{amount!r} is no amount of memory; write bytes or a number with {', '.join(UNITS)[2:]}")
    return int(float(match[1]) * UNITS[match[2]])


Check = Callable[[Any], str]
"""Returns what is wrong with a value, '' when nothing is."""


def find_faults(pool: LocalPool) -> list[Fault]:
    """List what is wrong with each field by itself, and then what does not fit together."""
    faults = [Fault(name, problem) for name, check in CHECKS.items() if (problem := check(getattr(pool, name)))]
    wrong = {fault.field for fault in faults}

    def both(*names: str) -> bool:
        return not wrong.intersection(names)

    if both("min_blocks", "max_blocks") and pool.min_blocks > pool.max_blocks:
        faults.append(Fault("min_blocks", f"is {pool.min_blocks}, above max_blocks={pool.max_blocks}"))
    if both("init_blocks", "max_blocks") and pool.init_blocks > pool.max_blocks:
        faults.append(Fault("init_blocks", f"is {pool.init_blocks}, above max_blocks={pool.max_blocks}"))
    if both("warm_blocks", "max_blocks") and pool.warm_blocks > pool.max_blocks:
        faults.append(Fault("warm_blocks", f"is {pool.warm_blocks}, above max_blocks={pool.max_blocks}"))
    if both("accelerators", "max_blocks", "nodes_per_block"):
        faults += _unequal_shares(pool)
    if both("walltime", "drain_timeout") and pool.walltime is not None and pool.walltime <= pool.drain_timeout:
        problem = (
            f"is {pool.walltime:g} s, within drain_timeout={pool.drain_timeout:g} s: a block would never take tasks"
        )
        faults.append(Fault("walltime", problem))
    if both("initializer", "worker_init") and pool.initializer is not None and pool.worker_init is not None:
        faults.append(Fault("worker_init", "is given beside initializer; use one of the two"))
    if both("channel", "provider") and pool.channel is not None and pool.provider != "local":
        faults.append(Fault("channel", "is given beside provider; give it to the provider, if that takes one"))
    if both("initargs", "initializer") and pool.initargs and pool.initializer is None and pool.worker_init is None:
        faults.append(Fault("initargs", "is given without initializer or worker_init to call with it"))
    return faults


def _number(low: float, high: float = math.inf, *, open_low: bool = False, optional: bool = False) -> Check:
    bounds = f"{'above' if open_low else 'from'} {low:g}" + (f" to {high:g}" if high < math.inf else "")

    def check(value: Any) -> str:
        if value is None and optional:
            return ""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"is {value!r}; give a number {bounds}"
        fits = (low < value if open_low else low <= value) and value <= high
        return "" if fits else f"is {value!r}; give a number {bounds}"

    return check


def _count(low: int, high: float = math.inf, *, optional: bool = False) -> Check:
    bounds = f"from {low}" + (f" to {high}" if high < math.inf else "")

    def check(value: Any) -> str:
        if value is None and optional:
            return ""
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            return f"is {value!r}; give a whole number {bounds}"
        return ""

    return check


def _plugin(group: str) -> Check:
    def check(value: Any) -> str:
        if callable(value):
            return ""
        if not isinstance(value, str):
            return f"is {value!r}; give a name or a function"
        try:
            if plugins.is_known(group, value):
                return ""
            known = plugins.registered(group)
        except PluginError as error:
            return str(error)
        return f"is {value!r}; {hint(value, known)}there are: {', '.join(known)}"

    return check


def _has_members(port: type, what: str) -> Check:
    def check(value: Any) -> str:
        missing = [name for name in sorted(port.__dict__) if name[0] != "_" and not hasattr(value, name)]
        return f"is {value!r}, which is no {what}: it has no {missing[0]}" if missing else ""

    return check


def _provider(value: Any) -> str:
    if isinstance(value, str):
        return _plugin(plugins.PROVIDERS)(value)
    return _has_members(Provider, "provider")(value)


def _channel(value: Any) -> str:
    return "" if value is None else _has_members(Channel, "channel")(value)


def _memory(value: Any) -> str:
    if value is None:
        return ""
    try:
        return "" if parse_bytes(value) > 0 else f"is {value!r}; give more than nothing"
    except ValueError as error:
        return str(error)


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else f"is {value!r}; give True or False"


def _words(what: str, pattern: re.Pattern[str] | None = None) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, tuple) or not all(isinstance(word, str) and word for word in value):
            return f"is {value!r}; give a tuple of {what}"
        bad = [word for word in value if pattern is not None and not pattern.fullmatch(word)]
        return f"holds {bad[0]!r}, which is no {what.rstrip('s')} name" if bad else ""

    return check


def _accelerators(value: Any) -> str:
    if not isinstance(value, tuple):
        problem = _count(0)(value)
        return f"{problem}, or a tuple of names" if problem else ""
    problem = _words("accelerators", ACCELERATOR)(value)
    twice = [name for index, name in enumerate(value) if name in value[:index]]
    return problem or (f"names {twice[0]!r} twice" if twice else "")


def _unequal_shares(pool: LocalPool) -> list[Fault]:
    count = pool.accelerators if isinstance(pool.accelerators, int) else len(pool.accelerators)
    nodes = pool.max_blocks * pool.nodes_per_block
    if count % nodes == 0:
        return []
    problem = (
        f"are {count}, for max_blocks={pool.max_blocks} with nodes_per_block={pool.nodes_per_block}: each node has an "
        f"equal share, so give a multiple of {nodes}"
    )
    return [Fault("accelerators", problem)]


def _initializer(value: Any) -> str:
    return "" if value is None or callable(value) else f"is {value!r}; give a function"


def _initargs(value: Any) -> str:
    return "" if isinstance(value, tuple) else f"is {value!r}; give a tuple"


def _worker_init(value: Any) -> str:
    if value is None or (isinstance(value, str) and REFERENCE.fullmatch(value)):
        return ""
    return f"is {value!r}; give a reference such as 'package.module:function'"


def _durability(value: Any) -> str:
    known = [str(durability) for durability in Durability]
    return "" if value in known else f"is {value!r}; {hint(str(value), known)}there are: {', '.join(known)}"


def _error_limits(value: Any) -> str:
    if not isinstance(value, ErrorLimits):
        return f"is {value!r}; give an ErrorLimits"
    problems = {
        "threshold": _count(1)(value.threshold),
        "pause": _number(0, open_low=True)(value.pause),
        "max_pause": _number(0, open_low=True)(value.max_pause),
    }
    return "; ".join(f"{name} {problem}" for name, problem in problems.items() if problem)


CHECKS: Final[Mapping[str, Check]] = {
    # As many as the resources in a cluster have at most, too: a typing error, and not another machine.
    "workers_per_node": _number(0, 4096, open_low=True),
    "nodes_per_block": _count(1, 1024),
    "min_blocks": _count(0, 100_000),
    "init_blocks": _count(0, 100_000),
    "max_blocks": _count(1, 100_000),
    "warm_blocks": _count(0, 100_000),
    "parallelism": _number(0, 1),
    "idle_timeout": _number(0),
    "start_cost": _number(0),
    "strategy": _plugin(plugins.STRATEGIES),
    "error_policy": _plugin(plugins.ERROR_HANDLERS),
    "error_limits": _error_limits,
    "channel": _channel,
    "provider": _provider,
    "launcher": _plugin(plugins.LAUNCHERS),
    "launcher_options": _words("options"),
    "walltime": _number(0, open_low=True, optional=True),
    "drain_timeout": _number(0),
    "register_timeout": _number(0, open_low=True),
    "cores_per_worker": _number(0, open_low=True, optional=True),
    "memory_per_worker": _memory,
    "accelerators": _accelerators,
    "initializer": _initializer,
    "initargs": _initargs,
    "worker_init": _worker_init,
    "preload": _words("modules", DOTTED),
    "max_tasks_per_worker": _count(1, optional=True),
    "max_rss": _memory,
    "pin_cores": _flag,
    "durability": _durability,
}
"""What each field must be; every field has an entry, which a test checks."""
