"""How many blocks a pool should have, and which ones go first. Pure: facts and `now` come in, a decision goes out.

The same strategies drive the pool of one machine (`executor`) and, in a cluster, the operator. They see sums and
idle times, never tasks; what a decision leads to (launching, draining, killing at the deadline) is left to `ledger`.
All instants are seconds of one monotonic clock.

Plug-ins: entry-point group `blockyard.strategies`, suite `suites.StrategySuite`. A strategy must keep the supply
within `min_blocks` and `max_blocks`, and must have nothing more to say once its decision is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor
from typing import Final, TypeAlias

import msgspec

from blockyard import plugins
from blockyard.blocks.states import JobState
from blockyard.ids import BlockId
from blockyard.plugins import PluginError

SUPPLY: Final = frozenset({JobState.PENDING, JobState.RUNNING})
"""States of blocks that work, or soon will. HELD and UNKNOWN ones exist, count towards the maximum, and do not work."""

SLACK: Final = 1e-9
"""Sums of fractions such as 0.1 workers must not ask for a block more by rounding."""


class BlockLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What the interchange knows about one block.

    `managers`: how many are registered now. `slots`: tasks they can run at a time. `busy`: slots taken. `idle_since`:
    when the last one became free; None while one is taken or none is registered. `done`: tries that ended on it.
    """

    block: BlockId
    managers: int = 0
    slots: float = 0.0
    busy: float = 0.0
    idle_since: float | None = None
    done: int = 0


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool is asked to do, pushed by the interchange whenever it changes.

    `queued_slots` and `running_slots`: slots wanted by tasks that wait, and taken by those that run. `outstanding`:
    tasks of the pool that have not ended, blocked ones included. `oldest_since`: since when the oldest waiting task
    could have started; None without one. `task_seconds`: how long a task typically runs, None while unknown.
    `loads`: one for each block with managers, in any order.
    """

    queued_slots: float = 0.0
    running_slots: float = 0.0
    outstanding: int = 0
    oldest_since: float | None = None
    task_seconds: float | None = None
    loads: tuple[BlockLoad, ...] = ()

    @property
    def slots(self) -> float:
        """All slots that tasks want now."""
        return self.queued_slots + self.running_slots


class BlockView(msgspec.Struct, frozen=True, kw_only=True):
    """A living block, as a strategy sees it: what provider and interchange know of it, joined.

    `asked_at`: when it was asked for. `idle_since`: see `BlockLoad`; None for one that never had a manager.
    """

    block: BlockId
    state: JobState
    asked_at: float
    registered: bool = False
    draining: bool = False
    busy: float = 0.0
    idle_since: float | None = None

    @property
    def supplies(self) -> bool:
        """True for a block that takes tasks now or soon."""
        return self.state in SUPPLY and not self.draining

    def useless_since(self) -> float | None:
        """Since when it has had nothing to do: idle, or never registered; None while it works."""
        return self.idle_since if self.registered else self.asked_at


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds and wishes of a pool that a strategy works with.

    `slots_per_block`: workers per node times nodes per block, above 0. `parallelism`, 0 to 1: slots wanted for each
    slot's worth of tasks; with 0 one block serves any number of them. `idle_timeout`: seconds that a block may be
    idle. `warm_blocks`: idle blocks kept beyond what demand uses, be it nothing. `start_cost`: seconds
    until a new block works; less waiting work than that is not worth one. `hysteresis`: spare blocks that are kept
    once they are there, as a share of those needed; whole ones only, so small pools keep none.
    """

    min_blocks: int = 0
    init_blocks: int = 0
    max_blocks: int = 1
    slots_per_block: float = 1.0
    parallelism: float = 1.0
    idle_timeout: float = 30.0
    warm_blocks: int = 0
    start_cost: float = 0.0
    hysteresis: float = 0.1


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Blocks to start, blocks to drain, and the reason in words. `wake_at`: when time alone may change the answer."""

    start: int = 0
    drain: tuple[BlockId, ...] = ()
    why: str = ""
    wake_at: float | None = None


Strategy: TypeAlias = Callable[[Demand, Sequence[BlockView], Policy, float], Decision]
"""(demand, living blocks in the order in which they were asked for, policy, now) -> decision."""


def none(demand: Demand, blocks: Sequence[BlockView], policy: Policy, now: float) -> Decision:
    """Keep `min_blocks`, whatever the demand; more or fewer only by hand."""
    supply = [block for block in blocks if block.supplies]
    if policy.min_blocks > len(supply):
        return _grow(blocks, policy.min_blocks - len(supply), policy, f"the minimum is {policy.min_blocks}")
    return _shrink(supply, len(supply), policy, now, together=False)


def simple(demand: Demand, blocks: Sequence[BlockView], policy: Policy, now: float) -> Decision:
    """Grow with demand; shrink to the minimum only when the whole pool has been idle long enough (Parsl's `simple`)."""
    supply = [block for block in blocks if block.supplies]
    target = max(policy.min_blocks, needed_blocks(demand, policy))
    if target > len(supply):
        return _grow(blocks, target - len(supply), policy, _why_grow(demand, target, policy))
    upper = len(supply) if demand.slots > 0 else policy.min_blocks
    return _shrink(supply, upper, policy, now, together=True)


def auto(demand: Demand, blocks: Sequence[BlockView], policy: Policy, now: float) -> Decision:
    """Follow demand both ways, block by block, with hysteresis and the cost of a start.

    The number of blocks to have is a function of the demand alone, and the number above which blocks are given up is
    never below it; so constant demand cannot make a pool swing. A block is given up only after `idle_timeout`.
    """
    supply = [block for block in blocks if block.supplies]
    lower, wake_at = _worthwhile(demand, policy, now)
    lower = _bounded(lower + policy.warm_blocks, policy)
    if lower > len(supply):
        grown = _grow(blocks, lower - len(supply), policy, _why_grow(demand, lower, policy))
        return msgspec.structs.replace(grown, wake_at=wake_at)
    upper = max(needed_blocks(demand, policy), floor(_share(demand, policy) * (1.0 + policy.hysteresis)))
    upper = max(lower, _bounded(upper + policy.warm_blocks, policy))
    shrunk = _shrink(supply, upper, policy, now, together=False)
    return msgspec.structs.replace(shrunk, wake_at=earliest(shrunk.wake_at, wake_at))


def needed_blocks(demand: Demand, policy: Policy) -> int:
    """Return how many blocks hold `parallelism` of the demand: at least one for any, at most `max_blocks`."""
    if demand.slots <= 0:
        return 0
    return min(policy.max_blocks, max(1, ceil(_share(demand, policy) - SLACK)))


def choose_victims(blocks: Sequence[BlockView], count: int) -> tuple[BlockId, ...]:
    """Name `count` blocks to give up: pending first, the longest idle next, then those with the fewest busy slots.

    Draining ones are left out; among equals the youngest goes first.
    """
    candidates = [block for block in blocks if not block.draining]
    return tuple(block.block for block in sorted(candidates, key=_victim_order)[: max(0, count)])


def earliest(*instants: float | None) -> float | None:
    """Return the first of some instants, None being never."""
    return min((instant for instant in instants if instant is not None), default=None)


def find(name: str) -> Strategy:
    """Return the strategy that is registered as `name`; raises PluginError with the list of those there are."""
    found = plugins.load(plugins.STRATEGIES, name)
    if not callable(found):
        raise PluginError(f"strategy {name!r} is {found!r}: a strategy is a function, see blockyard.blocks.scaling")
    return found


def _worthwhile(demand: Demand, policy: Policy, now: float) -> tuple[int, float | None]:
    """Return how many blocks are worth having, and when waiting alone will make it more.

    A block is worth its start when each of them would find `start_cost` seconds of waiting work, or when a task has
    waited that long already: then the guess about the tasks' length was wrong.
    """
    needed = needed_blocks(demand, policy)
    if needed <= 1 or demand.task_seconds is None or demand.oldest_since is None or policy.start_cost <= 0:
        return needed, None
    due = demand.oldest_since + policy.start_cost
    if now >= due:
        return needed, None
    work_seconds = demand.queued_slots * demand.task_seconds
    worth = work_seconds / (policy.slots_per_block * policy.start_cost)
    if worth >= needed:
        return needed, None
    return max(1, floor(worth)), due


def _share(demand: Demand, policy: Policy) -> float:
    """The demand in blocks."""
    return demand.slots * policy.parallelism / policy.slots_per_block


def _bounded(count: int, policy: Policy) -> int:
    return min(policy.max_blocks, max(policy.min_blocks, count))


def _grow(blocks: Sequence[BlockView], wanted: int, policy: Policy, why: str) -> Decision:
    # Draining, held and unknown blocks are there and are paid for, so they count towards the maximum.
    count = min(wanted, policy.max_blocks - len(blocks))
    return Decision(start=count, why=why) if count > 0 else Decision()


def _shrink(supply: Sequence[BlockView], upper: int, policy: Policy, now: float, *, together: bool) -> Decision:
    """Give up what is above the maximum, busy or not, and then what is above `upper` and idle for long enough.

    `together`: the idle ones all at once, when the last of them has been idle for long enough.
    """
    excess = choose_victims(supply, len(supply) - policy.max_blocks)
    left = [block for block in supply if block.block not in excess]
    surplus = len(left) - max(upper, policy.min_blocks)
    dues = [since + policy.idle_timeout for block in left if (since := block.useless_since()) is not None]
    due_by = max(dues, default=now) if together else now
    if together and len(dues) < len(left):
        surplus = 0  # one works, so the pool is not idle
    ripe = [
        block
        for block in left
        if (since := block.useless_since()) is not None and since + policy.idle_timeout <= now and due_by <= now
    ]
    idle = choose_victims(ripe, surplus)
    waiting = [due_by] if together else [due for due in dues if due > now]
    wake_at = min(waiting, default=None) if len(idle) < surplus else None
    reasons = (
        f"the maximum is {policy.max_blocks}" if excess else "",
        f"idle for {policy.idle_timeout:g} s" if idle else "",
    )
    return Decision(drain=excess + idle, why="; ".join(filter(None, reasons)), wake_at=wake_at)


def _victim_order(block: BlockView) -> tuple[int, float, float]:
    if not block.registered:
        return (0, 0.0, -block.asked_at)
    if block.idle_since is not None:
        return (1, block.idle_since, -block.asked_at)
    return (2, block.busy, -block.asked_at)


def _why_grow(demand: Demand, target: int, policy: Policy) -> str:
    if demand.slots <= 0:
        return f"{target} block(s) are kept without any task"
    return f"tasks want {demand.slots:g} slots, {target} block(s) have {target * policy.slots_per_block:g}"
