"""What a pool does about its blocks, told as stories on the model of a cluster, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from blockyard_operator.core import plan as do
from tests.property.operator.model import Memory, Model
from tests.unit.operator.stories import made, started, states

# --- how many ---------------------------------------------------------------------------------------------------------


def test_an_empty_pool_has_nothing_and_is_well() -> None:
    model = started()
    assert model.blocks == {}
    assert model.condition("Ready") == ("True", "Idle")


def test_demand_brings_blocks_up_to_the_maximum_and_says_so() -> None:
    model = started(blocks={"max": 3})
    model.queued = 7
    model.run(10)
    assert states(model) == ["RUNNING"] * 3
    assert model.condition("ScalingLimited") == ("True", "AtMaximum")
    assert model.condition("Ready") == ("True", "Ready")


def test_initial_blocks_are_started_once() -> None:
    model = started(blocks={"init": 2, "max": 4}, strategy={"idleTimeout": "30s"})
    assert len(model.living()) == 2
    model.run(120, step=3)
    assert model.living() == []
    assert len(made(model, do.CreateBlock)) == 2


def test_replicas_fix_the_number_whatever_demand_says() -> None:
    model = started(blocks={"replicas": 2, "max": 9})
    model.queued = 9
    model.run(10)
    assert len(model.living()) == 2
    model.edit_pool(blocks={"replicas": 1})
    model.run(60)
    assert len(model.living()) == 1
    model.edit_pool(blocks={"max": 3})
    model.run(20)
    assert len(model.living()) == 3, "automatic again"


def test_an_interchange_that_is_silent_changes_nothing() -> None:
    model = started(blocks={"min": 2, "max": 5}, strategy={"idleTimeout": "5s"})
    model.connected = False
    model.queued = 9
    model.run(200, step=5)
    assert len(model.living()) == 2
    assert model.condition("Connected") == ("False", "InterchangeSilent")
    assert model.condition("Ready") == ("False", "InterchangeSilent")
    model.connected = True
    model.run(20)
    assert len(model.living()) == 5


def test_a_template_that_is_refused_makes_no_block() -> None:
    model = Model()
    model.problem = "spec.template.spec.containers[0].image: Required value"
    model.add_pool(blocks={"min": 1})
    model.run(30)
    assert model.blocks == {}
    assert model.condition("TemplateValid") == ("False", "TemplateInvalid")
    assert [effect.reason for effect in made(model, do.Tell)] == ["TemplateInvalid"]
    model.problem = ""
    model.edit_pool(workersPerNode=2)
    model.run(10)
    assert len(model.living()) == 1


def test_a_template_that_was_refused_is_tried_again_for_what_refuses_it_may_change() -> None:
    model = Model()
    model.problem = "spec.template: violates PodSecurity"
    model.add_pool(blocks={"min": 1})
    model.run(30)
    assert len(made(model, do.CheckTemplate)) == 1
    model.problem = ""  # the namespace lets them in now; nothing of the pool has changed
    model.run(120)
    assert model.condition("TemplateValid") == ("True", "DryRunPassed")
    assert len(model.living()) == 1


def test_what_a_fixed_number_limits_is_said_of_it() -> None:
    model = started(blocks={"replicas": 1, "max": 9})
    model.queued = 5
    model.run(10)
    limited = next(one for one in model.pool().status.conditions if one.type == "ScalingLimited")
    assert (limited.reason, limited.message) == ("AtMaximum", "demand asks for more than blocks.replicas=1")


@pytest.mark.parametrize("effect", [do.CreateBlock, do.MakeSecret])
def test_an_object_that_the_api_server_will_not_have_is_a_condition_and_waits(effect: type[do.Effect]) -> None:
    model = Model()
    model.refuse_of_pool = effect
    model.add_pool(blocks={"min": 1})
    model.run(30)
    assert model.condition("ScalingLimited") == ("True", "QuotaExceeded")
    assert model.condition("Ready") == ("False", "QuotaExceeded")
    assert 1 < len(made(model, effect)) < 10, "again, after pauses"
    model.refuse_of_pool = None
    model.run(20)
    assert model.condition("Ready") == ("True", "Ready")


def test_suspend_drains_everything_and_resume_brings_it_back() -> None:
    model = started(blocks={"min": 2})
    model.edit_pool(suspend=True)
    model.run(40)
    assert states(model) == ["SCALED_IN"] * 2
    assert model.condition("Ready") == ("False", "Suspended")
    model.edit_pool(suspend=False)
    model.run(10)
    assert len(model.living()) == 2


# --- rolling out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rollout, most, fewest",
    [
        ({}, 5, 4),
        ({"maxSurge": 2}, 6, 4),
        ({"maxSurge": 0, "maxUnavailable": 1}, 5, 3),
        ({"maxUnavailable": "50%"}, 5, 2),
    ],
)
def test_a_rollout_keeps_its_bounds_and_loses_nothing(rollout: dict[str, Any], most: int, fewest: int) -> None:
    model = started(blocks={"replicas": 4}, rollout=rollout)
    old = {block.hash for block in model.living()}
    model.edit_pool(workersPerNode=2)
    for _ in range(120):
        model.run(1)
        taking = [block for block in model.living() if not block.spec.drain]
        working = [block for block in taking if block.status.managers > 0]
        assert fewest <= len(working)
        assert len(taking) <= most
    assert len(model.living()) == 4
    assert {block.hash for block in model.living()}.isdisjoint(old)
    assert model.condition("Progressing") == ("False", "Steady")


def test_a_rollout_to_a_form_that_does_not_start_costs_no_working_block() -> None:
    model = started(blocks={"replicas": 3}, errorPolicy={"pause": "600s"})
    model.edit_pool(workersPerNode=2)
    model.fate = lambda name: "runs" if any(name.startswith(one) for one in old) else "1"
    old = {block.meta.name for block in model.living()}
    model.run(120)
    assert {block.meta.name for block in model.living()} >= old
    assert model.condition("Degraded") == ("True", "BlocksFailing")


def test_a_paused_rollout_waits() -> None:
    model = started(blocks={"replicas": 2}, rollout={"paused": True})
    old = {block.meta.name for block in model.living()}
    model.edit_pool(workersPerNode=2)
    model.run(30)
    assert {block.meta.name for block in model.living()} == old
    assert model.condition("Progressing") == ("False", "RolloutPaused")
    model.edit_pool(rollout={})
    model.run(60)
    assert {block.meta.name for block in model.living()}.isdisjoint(old)


# --- a new leader -----------------------------------------------------------------------------------------------------


def test_a_new_leader_writes_nothing_where_nothing_has_changed() -> None:
    model = started(blocks={"min": 2}, registerTimeout="24h")
    model.run(40)
    written, dry_runs = model.writes, len(made(model, do.CheckTemplate))
    model.memory = Memory()
    model.run(40)
    assert model.writes == written
    assert len(made(model, do.CheckTemplate)) == dry_runs, "the pods of this template were accepted"


def test_blocks_without_managers_are_given_up_under_a_new_leader_too() -> None:
    model = Model(lambda name: "mute")
    model.add_pool(blocks={"min": 2}, registerTimeout="100s", errorPolicy={"unprovedBlocks": 9})
    model.run(60)
    before = [block.status.silent_since for block in model.living()]
    assert len(before) == 2
    assert None not in before
    written = model.writes
    model.memory = Memory()
    model.run(60)
    assert [block.status.silent_since for block in model.living()] == before, "they get the whole time once more"
    assert model.writes == written
    model.run(60)
    assert states(model).count("MISSING") == 2


def test_the_managers_of_blocks_are_believed_in_while_the_interchange_is_silent() -> None:
    model = started(blocks={"min": 2})
    model.connected = False
    model.run(30)
    assert [block.status.managers for block in model.living()] == [1, 1]
    assert model.pool().status.blocks.ready == 2
    model.edit_pool(suspend=True)
    model.run(3)
    assert len(model.living()) == 2, "they get the time for what they run"
    model.run(60)
    assert model.living() == []
