"""Fields of a pool that no story is about: each changes what it says."""

import asyncio
import time
from typing import Any, cast

import pytest

from blockyard.blocks.states import JobState, JobStatus
from blockyard.kube import manifest
from blockyard.kube.pods import read_pod
from blockyard_operator.applier import Applier, Rim
from blockyard_operator.cache import Cache, Key
from blockyard_operator.core import plan as do
from blockyard_operator.core.failures import action_of
from blockyard_operator.core.manifests import Terms, pods_of
from blockyard_operator.core.objects import Block, Meta, block_spec, read_pool
from blockyard_operator.core.pool_world import PoolWorld, policy_of
from blockyard_operator.metrics import Metrics
from blockyard_operator.program import STUCK_SECONDS, UNHEARD_SECONDS, Operator
from blockyard_operator.resources.shape import FailureAction, FailureRule, PodCondition
from blockyard_operator.settings import Settings
from tests.property.operator.model import Model
from tests.unit.operator.shelf import Shelf


def world(**spec: Any) -> PoolWorld:
    meta = {"name": "p", "namespace": "n", "uid": "u"}
    return PoolWorld(pool=read_pool({"metadata": meta, "spec": spec}), hash="h", slots=2)


def test_bounds_and_wishes_reach_the_strategy() -> None:
    spec = {"parallelism": 0.25, "nodesPerBlock": 3, "blocks": {"min": 1, "init": 2, "max": 7, "warm": 2}}
    times = {"strategy": {"idleTimeout": "90s", "startCost": "7s", "hysteresis": 0.5}}
    policy = policy_of(world(**spec, **times))
    assert (policy.min_blocks, policy.init_blocks, policy.max_blocks, policy.warm_blocks) == (1, 2, 7, 2)
    assert (policy.parallelism, policy.slots_per_block) == (0.25, 6.0)
    assert (policy.idle_timeout, policy.start_cost, policy.hysteresis) == (90.0, 7.0, 0.5)


def test_warm_blocks_are_there_before_any_task() -> None:
    model = Model()
    model.add_pool(blocks={"warm": 2, "max": 5}, strategy={"idleTimeout": "5s"})
    model.run(60)
    assert len(model.living()) == 2
    model.queued = 1
    model.run(10)
    assert len(model.living()) == 3


def test_priority_and_pod_group_reach_the_pods() -> None:
    pool = world(priorityClassName="high", nodesPerBlock=2).pool
    block = Block(meta=Meta(namespace="n", name="p-abcde", uid="b"), spec=block_spec("p", pool.spec))
    spec = manifest.pod(pods_of(block, Terms(image="w"), group=True), 1)["spec"]
    assert (spec["priorityClassName"], spec["schedulingGroup"]) == ("high", {"podGroupName": "p-abcde"})
    assert "schedulingGroup" not in manifest.pod(pods_of(block, Terms(image="w")), 1)["spec"]


@pytest.mark.parametrize(
    "condition, found",
    [
        (PodCondition(type="DisruptionTarget"), FailureAction.IGNORE),
        (PodCondition(type="DisruptionTarget", status="False"), None),
        (PodCondition(type="Other"), None),
    ],
)
def test_a_rule_on_a_condition_fits_pods_that_have_it(condition: PodCondition, found: FailureAction | None) -> None:
    status = {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]}
    pod = read_pod({"metadata": {"name": "b-0", "uid": "u"}, "status": status})
    rule = FailureRule(action=FailureAction.IGNORE, on_pod_conditions=[condition])
    end = JobStatus(state=JobState.FAILED, reason="Evicted")
    assert action_of([rule], end, [pod]) is found
    assert action_of([rule], JobStatus(state=JobState.SCALED_IN), [pod]) is None, "an end in order means nothing else"


def test_the_same_event_is_written_once() -> None:
    shelf = Shelf()
    rim = Rim(
        api=cast("Any", shelf), cache=Cache(), observer=cast("Any", None), interchange=cast("Any", None),
        metrics=Metrics(), terms=Terms(image="w"), server_key=b"", managers="", reporter="me", namespace="n",
    )  # fmt: skip
    applier = Applier(rim, lambda keys: None, lambda key, seconds: None)
    about = Meta(namespace="n", name="p", uid="u")
    told = [do.Tell(about, "WorkerPool", "BlocksFailing", note, warning=True) for note in ("a", "a", "b", "a")]
    asyncio.run(applier.carry_out(Key("pool", "n", "p"), do.Plan(effects=tuple(told))))
    assert [kind for kind, _ in shelf.writes] == ["Event", "Event"]
    event = next(iter(shelf.objects.values()))
    assert (event["type"], event["reason"], event["regarding"]["uid"]) == ("Warning", "BlocksFailing", "u")


class Candidate:
    """Of an election, what a probe asks."""

    def __init__(self, heard_at: float, *, leads: bool) -> None:
        self.heard_at = heard_at
        self.leads = leads


def test_probes_fail_for_what_they_are_there_for() -> None:
    async def probe() -> None:
        operator = Operator(Settings(clients_endpoint="tcp://i:1", managers_endpoint="tcp://i:2", worker_image="w"))
        assert operator._ready() == "starting"
        now = time.monotonic()
        operator._election = cast("Any", Candidate(now, leads=False))
        assert operator._ready() == ""
        operator._election = cast("Any", Candidate(now, leads=True))
        assert "reading" in operator._ready()
        operator._election = cast("Any", Candidate(now - UNHEARD_SECONDS - 1, leads=False))
        assert "has not answered" in operator._ready()
        assert operator._live() == ""
        operator._queue._clock = lambda: now - STUCK_SECONDS - 1
        operator._queue.add(Key("pool", "n", "p"))
        assert "has waited" in operator._live()

    asyncio.run(probe())
