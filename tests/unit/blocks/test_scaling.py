"""What the strategies decide, by tables and by search; the instant is 1000 throughout."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockyard.blocks.drawn import DrawnPool, carry_out, live_on
from blockyard.blocks.scaling import (
    BlockView,
    Decision,
    Demand,
    Policy,
    Strategy,
    auto,
    choose_victims,
    needed_blocks,
    none,
    simple,
)
from blockyard.blocks.states import JobState
from blockyard.ids import BlockId

NOW = 1000.0
RUNNING, PENDING, HELD, UNKNOWN = JobState.RUNNING, JobState.PENDING, JobState.HELD, JobState.UNKNOWN


def idle(name: str, seconds: float) -> BlockView:
    return BlockView(block=BlockId(name), state=RUNNING, asked_at=0.0, registered=True, idle_since=NOW - seconds)


def busy(name: str, slots: float = 1.0) -> BlockView:
    return BlockView(block=BlockId(name), state=RUNNING, asked_at=0.0, registered=True, busy=slots)


def pending(name: str, seconds: float = 1.0, state: JobState = PENDING) -> BlockView:
    return BlockView(block=BlockId(name), state=state, asked_at=NOW - seconds)


def draining(name: str) -> BlockView:
    return msgspec.structs.replace(busy(name), draining=True)


def demand(queued: float, running: float = 0.0, **more: Any) -> Demand:
    return Demand(queued_slots=queued, running_slots=running, **more)


@pytest.mark.parametrize(
    "queued, running, parallelism, slots, most, blocks",
    [
        (0, 0, 1.0, 4, 9, 0),
        (1, 0, 1.0, 4, 9, 1),
        (4, 0, 1.0, 4, 9, 1),
        (5, 0, 1.0, 4, 9, 2),
        (3, 2, 1.0, 4, 9, 2),
        (100, 0, 1.0, 4, 9, 9),
        (100, 0, 0.1, 4, 9, 3),
        (100, 0, 0.0, 4, 9, 1),
        (3, 0, 1.0, 0.1, 99, 30),
        (1, 0, 1.0, 0.5, 9, 2),
    ],
)
def test_blocks_needed_for_a_demand(
    queued: float, running: float, parallelism: float, slots: float, most: int, blocks: int
) -> None:
    policy = Policy(max_blocks=most, slots_per_block=slots, parallelism=parallelism)
    assert needed_blocks(demand(queued, running), policy) == blocks


@pytest.mark.parametrize(
    "strategy, wanted, blocks, settings, start, drain",
    [
        # none: the minimum, and nothing else
        (none, demand(9), [], {}, 0, []),
        (none, demand(0), [], {"min_blocks": 2}, 2, []),
        (none, demand(0), [idle("a", 900)], {}, 0, []),
        (none, demand(0), [idle("a", 900), draining("b")], {"min_blocks": 2}, 1, []),
        (none, demand(0), [busy("a"), idle("b", 1)], {"max_blocks": 1}, 0, ["b"]),
        # simple: up with demand, down when all is idle
        (simple, demand(3), [], {}, 3, []),
        (simple, demand(9), [], {}, 4, []),
        (simple, demand(3), [pending("a"), pending("b")], {}, 1, []),
        (simple, demand(3), [pending("a", state=HELD), pending("b", state=UNKNOWN)], {}, 2, []),
        (simple, demand(0), [idle("a", 31), idle("b", 40)], {}, 0, ["b", "a"]),
        (simple, demand(0), [idle("a", 31), idle("b", 2)], {}, 0, []),
        (simple, demand(0, 1), [idle("a", 31), busy("b")], {}, 0, []),
        (simple, demand(0), [idle("a", 31), idle("b", 40)], {"min_blocks": 1}, 0, ["b"]),
        # auto: up with demand, down block by block
        (auto, demand(3), [], {}, 3, []),
        (auto, demand(3), [draining("a"), draining("b")], {}, 2, []),
        (auto, demand(0, 1), [idle("a", 31), busy("b")], {}, 0, ["a"]),
        (auto, demand(0, 1), [idle("a", 29), busy("b")], {}, 0, []),
        (auto, demand(0), [idle("a", 31), pending("b", 31)], {}, 0, ["b", "a"]),
        (auto, demand(0), [idle("a", 31), pending("b", 2)], {}, 0, ["a"]),
        (auto, demand(0), [idle("a", 31), idle("b", 45), idle("c", 40)], {"min_blocks": 1}, 0, ["b", "c"]),
        (auto, demand(0), [], {"min_blocks": 1}, 1, []),
        (auto, demand(9), [busy("a", 2), busy("b", 1)], {"max_blocks": 1}, 0, ["b"]),
        # auto, warm: idle blocks beyond what demand uses, be it nothing
        (auto, demand(1), [], {"warm_blocks": 1}, 2, []),
        (auto, demand(0), [], {"warm_blocks": 1}, 1, []),
        (auto, demand(0), [idle("a", 99), idle("b", 98)], {"warm_blocks": 1}, 0, ["a"]),
        (auto, demand(0, 1), [busy("a"), idle("b", 99), idle("c", 98)], {"warm_blocks": 1}, 0, ["b"]),
    ],
)
def test_a_situation_leads_to_a_decision(
    strategy: Strategy,
    wanted: Demand,
    blocks: Sequence[BlockView],
    settings: dict[str, Any],
    start: int,
    drain: list[str],
) -> None:
    decision = strategy(wanted, blocks, Policy(**{"max_blocks": 4, **settings}), NOW)
    assert (decision.start, list(decision.drain)) == (start, drain)
    assert bool(decision.why) == bool(start or drain)


@pytest.mark.parametrize(
    "queued, task_seconds, waited, start",
    [
        (8, None, 0.0, 4),
        (8, 0.001, 0.0, 1),
        (8, 0.5, 0.0, 2),
        (8, 100.0, 0.0, 4),
        (8, 0.001, 2.0, 4),
        (100_000, 0.001, 0.0, 4),
    ],
)
def test_auto_weighs_the_cost_of_a_start_against_the_waiting_work(
    queued: float, task_seconds: float | None, waited: float, start: int
) -> None:
    policy = Policy(max_blocks=4, start_cost=2.0)
    wanted = demand(queued, task_seconds=task_seconds, oldest_since=NOW - waited)
    decision = auto(wanted, [], policy, NOW)
    assert decision.start == start
    if start < 4:
        assert decision.wake_at == NOW + 2.0, "if the guess was wrong, waiting tells"


def test_auto_keeps_a_tenth_more_blocks_than_needed_once_they_are_there() -> None:
    policy = Policy(max_blocks=40, slots_per_block=2, hysteresis=0.1)
    blocks = [*(busy(f"b{number}", 2) for number in range(20)), *(idle(f"i{number}", 99) for number in range(3))]
    assert auto(demand(0, 40), blocks, policy, NOW).drain == ("i0",)
    assert auto(demand(0, 40), blocks[:20], policy, NOW).start == 0, "none is started for it"


def test_a_strategy_says_when_time_will_change_its_mind() -> None:
    assert auto(demand(0), [idle("a", 10), idle("b", 20)], Policy(max_blocks=4), NOW).wake_at == NOW + 10
    assert simple(demand(0), [idle("a", 10), idle("b", 20)], Policy(max_blocks=4), NOW).wake_at == NOW + 20
    assert auto(demand(0, 2), [busy("a"), busy("b")], Policy(max_blocks=4), NOW).wake_at is None


def test_victims_are_pending_first_then_the_longest_idle_then_the_least_busy() -> None:
    blocks = [
        busy("b2", 2),
        idle("i1", 5),
        busy("b1", 1),
        draining("d"),
        idle("i2", 9),
        pending("p1", 8),
        pending("p2", 3),
    ]
    assert choose_victims(blocks, 99) == ("p2", "p1", "i2", "i1", "b1", "b2")
    assert choose_victims(blocks, 2) == ("p2", "p1")
    assert choose_victims(blocks, 0) == choose_victims(blocks, -1) == ()


@st.composite
def pools(draw: st.DrawFn) -> DrawnPool:
    most = draw(st.integers(1, 6))
    policy = Policy(
        min_blocks=draw(st.integers(0, most)),
        max_blocks=most,
        slots_per_block=draw(st.sampled_from([0.3, 1.0, 2.0, 8.0])),
        parallelism=draw(st.floats(0, 1)),
        idle_timeout=draw(st.floats(0, 60)),
        warm_blocks=draw(st.integers(0, 3)),
        start_cost=draw(st.floats(0, 20)),
        hysteresis=draw(st.floats(0, 1)),
    )
    blocks = draw(st.lists(views(), max_size=most + 2, unique_by=lambda block: block.block))
    queued = draw(st.floats(0, 50))
    wanted = Demand(
        queued_slots=queued,
        running_slots=sum(block.busy for block in blocks),
        oldest_since=NOW - draw(st.floats(0, 60)) if queued else None,
        task_seconds=draw(st.none() | st.floats(0, 100)),
    )
    return DrawnPool(wanted, tuple(blocks), policy, NOW)


@st.composite
def views(draw: st.DrawFn) -> BlockView:
    state = draw(st.sampled_from([RUNNING, RUNNING, RUNNING, PENDING, HELD, UNKNOWN]))
    registered = draw(st.booleans()) and state is not PENDING
    slots = draw(st.sampled_from([0.0, 1.0, 2.0])) if registered else 0.0
    return BlockView(
        block=BlockId(draw(st.text("abcdefgh", min_size=1, max_size=3))),
        state=state,
        asked_at=NOW - draw(st.floats(0, 100)),
        registered=registered,
        draining=draw(st.integers(0, 5)) == 0,
        busy=slots,
        idle_since=NOW - draw(st.floats(0, 100)) if registered and not slots and draw(st.booleans()) else None,
    )


every_strategy = pytest.mark.parametrize("strategy", [none, simple, auto])


def supply(blocks: Sequence[BlockView]) -> int:
    return sum(block.supplies for block in blocks)


@every_strategy
@settings(max_examples=150, deadline=None)
@given(pool=pools())
def test_bounds_hold_whatever_the_situation(strategy: Strategy, pool: DrawnPool) -> None:
    decision = strategy(pool.demand, pool.blocks, pool.policy, pool.now)
    after = carry_out(decision, pool.blocks, pool.now)
    if decision.start:
        assert len(after) <= pool.policy.max_blocks
        assert not decision.drain
    if decision.drain:
        assert supply(after) >= pool.policy.min_blocks
    lacking = pool.policy.min_blocks - supply(after)
    assert lacking <= 0 or len(after) >= pool.policy.max_blocks, "below the minimum although there is room"
    assert supply(after) <= pool.policy.max_blocks


@every_strategy
@settings(max_examples=150, deadline=None)
@given(pool=pools())
def test_a_repeat_changes_nothing(strategy: Strategy, pool: DrawnPool) -> None:
    first = strategy(pool.demand, pool.blocks, pool.policy, pool.now)
    again = strategy(pool.demand, carry_out(first, pool.blocks, pool.now), pool.policy, pool.now)
    assert (again.start, again.drain) == (0, ())
    assert again.wake_at is None or again.wake_at > pool.now


@every_strategy
@settings(max_examples=80, deadline=None)
@given(pool=pools())
def test_constant_demand_never_makes_a_pool_swing(strategy: Strategy, pool: DrawnPool) -> None:
    directions = list(live_on(strategy, pool))
    assert directions in (sorted(directions), sorted(directions, reverse=True)), directions


@settings(max_examples=100, deadline=None)
@given(pool=pools())
def test_auto_serves_every_demand_in_the_end(pool: DrawnPool) -> None:
    """With no block at all, whatever the guess about the tasks' length, waiting tasks get a block at once."""
    decision: Decision = auto(pool.demand, [], pool.policy, pool.now)
    assert decision.start >= (1 if pool.demand.slots > 0 else 0)
    later = auto(pool.demand, [], pool.policy, pool.now + 1000.0)
    assert later.start >= min(needed_blocks(pool.demand, pool.policy), pool.policy.max_blocks)
