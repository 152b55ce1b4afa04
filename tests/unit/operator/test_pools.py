"""What a pool does about its blocks, told as stories on the model of a cluster, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from blockyard_operator.core import plan as do
from blockyard_operator.core.objects import Block
from blockyard_operator.core.view import Refusal
from tests.property.operator.model import Memory, Model


def started(**spec: Any) -> Model:
    model = Model()
    model.add_pool(**{"drain": {"timeout": "10s"}, **spec})
    model.run(8)
    return model


def made(model: Model, kind: type[do.Effect]) -> list[Any]:
    return [effect for effect in model.effects if isinstance(effect, kind)]


def states(model: Model) -> list[str]:
    return sorted(block.state for block in model.all_blocks())


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


# --- blocks that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [1, 5, 40])
def test_blocks_that_fail_at_their_start_are_never_a_storm(wanted: int) -> None:
    model = Model(lambda name: "1")
    model.add_pool(blocks={"max": 50}, errorPolicy={"podsPerMinute": 12, "unprovedBlocks": 4, "pause": "1s"})
    model.queued = wanted
    model.run(300, step=1)
    at = model.pod_times
    for begin in at:
        assert sum(begin <= one < begin + 60 for one in at) <= 12 + 1, "more than the stated number within a minute"
    assert model.condition("Degraded") == ("True", "BlocksFailing")
    failure = model.pool().status.last_failure
    assert failure is not None
    assert "exit code 1" in failure.message


def test_failures_that_are_to_be_ignored_are_no_storm_either() -> None:
    model = Model()
    rule = {"action": "Ignore", "onExitCodes": {"values": [3]}}
    model.add_pool(blocks={"replicas": 2}, errorPolicy={"podsPerMinute": 12}, podFailureRules=[rule])
    model.run(10)
    assert model.pool().status.proved
    model.fate = lambda name: "3"
    model.run(130)
    at = model.pod_times
    assert max(sum(begin <= one < begin + 60 for one in at) for begin in at) <= 12 + 2
    assert model.condition("Degraded") == ("False", "AsExpected")
    model.fate = lambda name: "runs"
    model.run(90)
    assert len(model.living()) == 2


def test_a_breaker_closes_by_itself_when_the_cause_is_gone() -> None:
    model = Model(lambda name: "1")
    model.add_pool(blocks={"max": 3}, errorPolicy={"pause": "10s", "maxPause": "60s"})
    model.queued = 3
    model.run(60)
    assert model.condition("Degraded")[0] == "True"
    for _ in range(120):  # while pauses end and blocks are tried, nothing is well
        model.run(1)
        assert model.condition("Degraded") == ("True", "BlocksFailing")
    model.fate = lambda name: "runs"
    model.run(150)
    assert states(model).count("RUNNING") == 3
    assert model.condition("Degraded") == ("False", "AsExpected")
    assert [effect.reason for effect in made(model, do.Tell)].count("Recovered") <= 3, "not after each pause"


def test_a_changed_template_starts_with_a_clean_slate() -> None:
    model = Model(lambda name: "1")
    model.add_pool(blocks={"max": 2}, errorPolicy={"pause": "600s"})
    model.queued = 2
    model.run(30)
    model.fate = lambda name: "runs"
    model.edit_pool(workersPerNode=2)
    model.run(10)
    assert states(model).count("RUNNING") >= 1


def test_an_image_with_another_python_is_tried_once_and_not_in_a_loop() -> None:
    model = Model(lambda name: "64")
    model.add_pool(blocks={"max": 1})
    model.queued = 1
    model.run(600, step=5)
    assert len(made(model, do.CreateBlock)) == 1
    assert model.condition("Ready") == ("False", "PythonUnsupported")
    model.blocks.clear()  # the user deletes the failed block: try again
    model.fate = lambda name: "runs"
    model.run(10)
    assert states(model) == ["RUNNING"]


def test_a_pool_that_is_given_up_fails_its_tasks() -> None:
    model = Model(lambda name: "1")
    model.add_pool(blocks={"max": 1}, errorPolicy={"name": "simple", "threshold": 2})
    model.queued = 1
    model.run(60)
    assert model.condition("Ready") == ("False", "GivenUp")
    (order,) = made(model, do.FailTasks)
    assert order.queue == "n.p"
    what_to_do, found = order.reason.split("; ", 1)
    assert what_to_do == "mend the template of WorkerPool p and submit again"
    assert found.startswith("all 2 blocks so far failed; last was block p-")


def test_what_each_task_of_a_pool_that_is_given_up_fails_with_is_short() -> None:
    model = Model(lambda name: "1")
    model.add_pool(blocks={"max": 1}, errorPolicy={"name": "simple", "threshold": 1})
    model.log = "x" * 4000
    model.queued = 1
    model.run(60)
    (order,) = made(model, do.FailTasks)
    assert order.reason.endswith("xxx…")
    assert len(order.reason) < 600


@pytest.mark.parametrize(
    "rule, degraded",
    [
        ({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [3]}}, "False"),
        ({"action": "Halt", "onExitCodes": {"operator": "In", "values": [3]}}, "True"),
        ({"action": "Halt", "onExitCodes": {"operator": "NotIn", "values": [3]}}, "False"),
        ({"action": "Halt", "onReasons": ["WorkerUnfit"]}, "True"),
        ({"action": "Halt", "onReasons": ["WorkerUnfit"], "onExitCodes": {"values": [4]}}, "False"),
    ],
)
def test_rules_say_what_a_failure_means(rule: dict[str, Any], degraded: str) -> None:
    model = Model(lambda name: "3" if name.endswith(first[0]) else "runs")
    first: list[str] = ["-0"]
    model.add_pool(blocks={"replicas": 1}, podFailureRules=[rule])
    model.run(3)
    first[0] = "never"
    model.run(10)
    assert model.condition("Degraded")[0] == degraded
    assert len(made(model, do.CreateBlock)) == (1 if degraded == "True" else 2)


def test_ended_blocks_are_kept_for_a_look_and_no_more() -> None:
    model = Model(lambda name: "1")
    model.add_pool(blocks={"max": 4}, errorPolicy={"pause": "1s", "maxPause": "2s", "name": "breaker"})
    model.queued = 4
    model.run(600, step=2)
    assert len(made(model, do.CreateBlock)) > 30
    assert len(model.all_blocks()) <= 16 + 60, "those of the last minute count for the limit of pods"
    model.fate = lambda name: "runs"
    model.run(200, step=2)
    assert len(model.all_blocks()) <= 16 + 3 + 4 + 1


# --- one block --------------------------------------------------------------------------------------------------------


def only(model: Model) -> Block:
    (block,) = model.all_blocks()
    return block


def end_of(block: Block) -> tuple[str, str]:
    assert block.status.job_status is not None
    return block.state, block.status.job_status.reason


def test_a_block_that_does_not_start_in_time_has_failed_and_says_what_it_waited_for() -> None:
    model = Model(lambda name: "waits")
    model.add_pool(blocks={"replicas": 1}, pendingDeadline="30s", errorPolicy={"threshold": 1, "pause": "600s"})
    model.run(60)
    block = only(model)
    assert end_of(block) == ("FAILED", "PendingDeadline")
    assert list(model.all_pods()) == [], "its pod is gone"


def test_time_in_a_queue_is_not_counted() -> None:
    """The scheduler's condition stays False when a gate is lifted, so the time in it is that of the pod's creation."""
    model = Model(lambda name: "gated")
    model.add_pool(blocks={"replicas": 1}, pendingDeadline="30s", errorPolicy={"threshold": 1, "pause": "600s"})
    model.run(100)
    assert only(model).state == "HELD"
    model.fate = lambda name: "unschedulable"
    model.run(25)
    assert only(model).state == "PENDING"
    model.memory = type(model.memory)()  # another leader
    model.run(20)
    assert end_of(only(model)) == ("FAILED", "PendingDeadline")


def test_a_block_whose_managers_do_not_come_is_missing() -> None:
    model = Model(lambda name: "mute")
    model.add_pool(blocks={"replicas": 1}, registerTimeout="20s", errorPolicy={"threshold": 1, "pause": "600s"})
    model.run(15)
    assert only(model).state == "RUNNING"
    model.run(30)
    assert end_of(only(model)) == ("MISSING", "NoManager")


def test_a_block_is_drained_before_its_walltime() -> None:
    model = started(blocks={"replicas": 1}, walltime="60s")
    model.run(47)
    first = model.all_blocks()[0]
    assert (first.status.ending, first.status.drain_by is not None) == ("walltime", True)
    model.run(10)
    ended = [block for block in model.all_blocks() if block.state == "TIMEOUT"]
    assert [block.meta.name for block in ended] == [first.meta.name]
    assert len(model.living()) == 1, "and another one took its place"


def test_a_block_drained_by_hand_is_cancelled_and_replaced() -> None:
    model = started(blocks={"replicas": 1})
    name = only(model).meta.name
    model.blocks[name]["spec"]["drain"] = True
    model.run(20)
    assert end_of(model.block(name)) == ("CANCELLED", "Drained")
    assert len(model.living()) == 1


def test_a_busy_block_is_given_time_and_then_its_pods_are_deleted() -> None:
    model = started(blocks={"replicas": 1})
    model.obeys = False  # its task does not end
    name = only(model).meta.name
    model.edit_pool(blocks={"replicas": 0})
    model.run(8)
    assert model.block(name).state == "RUNNING"
    assert made(model, do.DeletePod) == []
    model.run(8)
    assert model.block(name).state == "SCALED_IN"
    assert len(made(model, do.DeletePod)) >= 1


def test_a_gang_lives_and_dies_together() -> None:
    model = started(blocks={"replicas": 1}, nodesPerBlock=3)
    first = only(model).meta.name
    assert sorted(pod.name for pod in model.all_pods()) == [f"{first}-{index}" for index in range(3)]
    assert first in model.services
    model.delete_pod(f"{first}-1")
    model.run(15)
    assert end_of(model.block(first)) == ("CANCELLED", "PodDeleted")
    names = {pod.block for pod in model.all_pods()}
    assert len(names) == 1
    assert first not in names, "none of the old ones is left, and a new gang is there"


def test_a_pod_refused_for_quota_waits_and_one_refused_for_good_has_failed() -> None:
    def refused(lasting: bool) -> Callable[[str], Refusal]:
        reason = "InvalidPod" if lasting else "QuotaExceeded"
        return lambda pod: Refusal(reason=reason, message="no", at=model.now, lasting=lasting, retry_at=model.now + 5)

    model = Model()
    model.refuse = refused(lasting=False)
    model.add_pool(blocks={"replicas": 1})
    model.run(20)
    assert end_of(only(model)) == ("PENDING", "QuotaExceeded")
    assert model.condition("Ready") == ("False", "QuotaExceeded")
    model.refuse = lambda pod: None
    model.run(10)
    assert only(model).state == "RUNNING"
    model = Model()
    model.refuse = refused(lasting=True)
    model.add_pool(blocks={"replicas": 1}, errorPolicy={"threshold": 1, "pause": "600s"})
    model.run(10)
    assert end_of(only(model)) == ("FAILED", "InvalidPod")


def test_while_a_block_is_busy_no_autoscaler_may_take_its_node() -> None:
    model = started(blocks={"replicas": 1})
    name = only(model).meta.name
    model.run(20)
    assert next(model.all_pods()).evictable is True
    model.managers[name] = {f"{name}-0": None}
    model.run(2)
    assert next(model.all_pods()).evictable is False
    model.managers[name] = {f"{name}-0": model.now}
    model.run(5)
    assert next(model.all_pods()).evictable is False, "a pause between tasks is no reason to write"


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
