"""Plans, carried out again and again, come to rest; and a death behind any effect is repaired by the next pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockyard_operator.core import plan as do
from tests.machine import Size, size
from tests.property.operator.model import Model

Story = Callable[[Model], None]


def grow_and_shrink(model: Model) -> None:
    model.add_pool(blocks={"max": 3}, strategy={"idleTimeout": "5s"}, drain={"timeout": "10s"})
    model.queued = 3
    model.run(10)
    assert len(model.living()) == 3
    model.queued = 0
    model.run(60)


def roll_out(model: Model) -> None:
    model.add_pool(blocks={"min": 2, "max": 4}, drain={"timeout": "10s"}, strategy={"idleTimeout": "600s"})
    model.run(10)
    model.edit_pool(workersPerNode=2)
    model.run(120)


def gang(model: Model) -> None:
    model.add_pool(blocks={"min": 1, "max": 1}, nodesPerBlock=3, drain={"timeout": "10s"})
    model.run(10)
    lost = next(pod.name for pod in model.all_pods() if pod.index == 1)
    model.delete_pod(lost)
    model.run(60)


def suspend_and_resume(model: Model) -> None:
    model.add_pool(blocks={"min": 2, "max": 2}, drain={"timeout": "10s"})
    model.run(10)
    model.edit_pool(suspend=True)
    model.run(60)
    assert model.living() == []
    model.edit_pool(suspend=False)
    model.run(30)


def blocks_that_fail(model: Model) -> None:
    model.fate = lambda name: "7"
    model.add_pool(blocks={"max": 4}, errorPolicy={"pause": "10s"})
    model.queued = 4
    model.run(120, step=3)
    model.fate = lambda name: "runs"
    model.run(400, step=10)


FEW = 10
"""Deaths that are tried of each story at the small size."""

STORIES: list[Story] = [grow_and_shrink, roll_out, gang, suspend_and_resume, blocks_that_fail]


def shape(model: Model) -> object:
    """What must be the same however often the operator died; times, and which ended blocks are kept, may differ."""
    pool = model.pool()
    living = model.living()
    return (
        len(living),
        sorted((block.state, block.status.managers, block.spec.drain, block.hash) for block in living),
        len([pod for pod in model.all_pods() if not pod.ended]),
        [(one.type, one.status, one.reason) for one in pool.status.conditions if one.type != "ScalingLimited"],
        pool.status.blocks,
    )


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_at_rest_nothing_is_done(story: Story) -> None:
    model = Model()
    story(model)
    model.run(120, step=5)
    before = len(model.effects)
    model.run(600, step=5)
    assert model.effects[before:] == []


@pytest.mark.soak
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_death_behind_any_effect_is_repaired(story: Story) -> None:
    calm = Model()
    story(calm)
    calm.run(30)
    count, wanted = len(calm.effects), shape(calm)
    for place in range(0, count, 1 if size() is Size.FULL else 1 + count // FEW):
        model = Model()
        model.crash_after = place
        story(model)
        model.run(30)
        assert shape(model) == wanted, f"the operator died behind effect {place}, {calm.effects[place]}"
        assert pods_made_once(model)


def pods_made_once(model: Model) -> bool:
    """A pod that was there once is never made again: its name would be another block's life."""
    made = [(effect.block.name, effect.index) for effect in model.effects if isinstance(effect, do.CreatePod)]
    recorded = {name for name, _ in made}
    return len(made) - len(set(made)) <= 1 + len(recorded)


@settings(max_examples=200 if size() is Size.FULL else 12, deadline=None)
@given(
    tasks=st.lists(st.integers(0, 8), min_size=1, max_size=4),
    bounds=st.tuples(st.integers(0, 3), st.integers(1, 5)).map(lambda pair: (min(pair), max(pair))),
    fates=st.lists(st.sampled_from(["runs", "runs", "runs", "waits", "1", "137"]), min_size=1, max_size=7),
    deaths=st.lists(st.integers(0, 120), max_size=3),
)
def test_any_world_comes_to_rest_within_its_bounds(
    tasks: list[int], bounds: tuple[int, int], fates: list[str], deaths: list[int]
) -> None:
    model = Model(lambda name: fates[sum(name.encode()) % len(fates)])
    low, high = bounds
    model.add_pool(
        blocks={"min": low, "max": max(1, high)}, pendingDeadline="20s", registerTimeout="20s",
        strategy={"idleTimeout": "5s"}, drain={"timeout": "5s"}, errorPolicy={"pause": "5s", "maxPause": "20s"},
    )  # fmt: skip
    for queued in tasks:
        model.queued = float(queued)
        if deaths:
            model.crash_after = len(model.effects) + deaths.pop()
        model.run(40, step=2)
        assert len(model.living()) <= max(1, high)
    model.queued, model.crash_after = 0.0, None
    model.fate = lambda name: "runs"
    model.run(200, step=2)
    assert len(model.living()) == low
    before = len(model.effects)
    model.run(100, step=5)
    assert model.effects[before:] == []
