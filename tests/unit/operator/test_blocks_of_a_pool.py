"""What becomes of one block of a pool, told as stories on the model of a cluster, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

from blockyard_operator.core import plan as do
from blockyard_operator.core.objects import Block
from blockyard_operator.core.view import Refusal
from tests.property.operator.model import Model
from tests.unit.operator.stories import made, started


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
