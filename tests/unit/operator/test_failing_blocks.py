"""What a pool does about blocks that fail, told as stories on the model of a cluster, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from blockyard_operator.core import plan as do
from tests.property.operator.model import Model
from tests.unit.operator.stories import made, states


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
