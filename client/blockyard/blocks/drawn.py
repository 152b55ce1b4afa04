"""Situations that pure plug-ins are shown: drawn pools and histories, the same ones in every run.

Used by `suites`, and by tests that look for a counter-example of their own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import msgspec

from blockyard.blocks.errors import BAD, History, Outcome
from blockyard.blocks.scaling import SUPPLY, BlockView, Decision, Demand, Policy, Strategy
from blockyard.blocks.states import JobState, JobStatus
from blockyard.ids import BlockId


class DrawnPool(msgspec.Struct, frozen=True):
    """A situation that a strategy may find itself in."""

    demand: Demand
    blocks: tuple[BlockView, ...]
    policy: Policy
    now: float


def draw_pools(count: int, seed: int = 20260101) -> Iterator[DrawnPool]:
    """Draw situations, the same for the same seed: small pools, all states, idle and busy, policies of all kinds."""
    dice = random.Random(seed)
    for _ in range(count):
        now = 1000.0
        maximum = dice.randint(1, 8)
        policy = Policy(
            min_blocks=dice.randint(0, maximum),
            max_blocks=maximum,
            slots_per_block=dice.choice([0.5, 1.0, 2.0, 4.0, 7.5]),
            parallelism=dice.choice([0.0, 0.1, 0.5, 1.0]),
            idle_timeout=dice.choice([0.0, 5.0, 30.0]),
            warm_blocks=dice.choice([0, 0, 1, 2]),
            start_cost=dice.choice([0.0, 0.5, 10.0]),
        )
        blocks = tuple(draw_block(dice, number, now) for number in range(dice.randint(0, maximum + 2)))
        queued = dice.choice([0.0, 0.0, 1.0, 3.0, 40.0])
        demand = Demand(
            queued_slots=queued,
            running_slots=sum(block.busy for block in blocks),
            oldest_since=now - dice.choice([0.0, 0.3, 60.0]) if queued else None,
            task_seconds=dice.choice([None, 0.001, 1.0, 100.0]),
        )
        yield DrawnPool(demand, blocks, policy, now)


def draw_block(dice: random.Random, number: int, now: float) -> BlockView:
    """Draw one living block."""
    state = dice.choice([JobState.RUNNING] * 4 + [JobState.PENDING] * 2 + [JobState.HELD, JobState.UNKNOWN])
    registered = state is JobState.RUNNING and dice.random() < 0.8
    busy = dice.choice([0.0, 0.0, 1.0, 2.0]) if registered else 0.0
    return BlockView(
        block=BlockId(f"b-{number}"),
        state=state,
        asked_at=now - dice.choice([1.0, 10.0, 100.0]),
        registered=registered,
        draining=dice.random() < 0.15,
        busy=busy,
        idle_since=now - dice.choice([0.0, 6.0, 50.0]) if registered and not busy else None,
    )


def carry_out(decision: Decision, blocks: Sequence[BlockView], now: float) -> tuple[BlockView, ...]:
    """Return the pool's blocks as they are right after a decision: new ones pending, victims draining."""
    kept = [
        msgspec.structs.replace(block, draining=True) if block.block in decision.drain else block for block in blocks
    ]
    names = [f"new-{len(blocks)}-{number}" for number in range(decision.start)]
    fresh = [BlockView(block=BlockId(name), state=JobState.PENDING, asked_at=now) for name in names]
    return (*kept, *fresh)


def live_on(strategy: Strategy, case: DrawnPool, ticks: int = 40, tick: float = 3.0) -> Iterator[str]:
    """Let a pool live under constant demand and yield `up` or `down` for each decision that changes it.

    New blocks register after one tick, are idle unless the demand keeps them busy, and drained ones are gone at once.
    """
    blocks: Sequence[BlockView] = [block for block in case.blocks if block.state in SUPPLY and not block.draining]
    demand = msgspec.structs.replace(case.demand, oldest_since=None)
    for number in range(ticks):
        now = case.now + number * tick
        blocks = _serve(blocks, demand, case.policy, now)
        decision = strategy(demand, blocks, case.policy, now)
        if decision.start or decision.drain:
            yield "up" if decision.start else "down"
        blocks = [block for block in carry_out(decision, blocks, now) if not block.draining]


def _serve(blocks: Sequence[BlockView], demand: Demand, policy: Policy, now: float) -> list[BlockView]:
    left = demand.slots
    served: list[BlockView] = []
    for block in blocks:
        busy = min(left, policy.slots_per_block)
        left -= busy
        idle_since = None if busy else (block.idle_since if block.idle_since is not None else now)
        served.append(
            msgspec.structs.replace(block, state=JobState.RUNNING, registered=True, busy=busy, idle_since=idle_since)
        )
    return served


def drawn_outcome(number: int, state: JobState, *, proved: bool) -> Outcome:
    """Return the outcome of a block that ended at the instant `number`, with a message that names it."""
    status = JobStatus(state=state, reason="Drawn", message=f"end of b-{number}")
    return Outcome(block=BlockId(f"b-{number}"), status=status, at=float(number), proved=proved)


def draw_histories(count: int, seed: int = 20260101) -> Iterator[tuple[History, float]]:
    """Draw histories and an instant after their last event."""
    dice = random.Random(seed)
    for _ in range(count):
        length = dice.randint(0, 12)
        outcomes = tuple(
            drawn_outcome(number, dice.choice(sorted(BAD)), proved=dice.random() < 0.2) for number in range(length)
        )
        good = sum(not outcome.bad for outcome in outcomes)
        yield History(good=good, bad=length - good, recent=outcomes), length + dice.choice([0.0, 0.5, 3.0, 100.0])
