"""The definitions on a real API server: defaults, refusals that name the field, columns, scale."""

import json
import uuid
from typing import Any

import pytest

from tests.cluster.api_server import ApiServer
from tests.cluster.kubectl import Json
from tests.cluster.shell import CommandFailed

pytestmark = pytest.mark.needs_api_server


def pool(spec: dict[str, Any], kind: str = "WorkerPool") -> Json:
    meta = {"name": f"p-{uuid.uuid4().hex[:8]}", "namespace": "default"}
    return {"apiVersion": "blockyard.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}


def test_defaults_are_written_into_the_object(server: ApiServer) -> None:
    spec = server.apply(pool({}))["spec"]
    assert spec["blocks"] == {"min": 0, "max": 10, "warm": 0}
    assert spec["strategy"]["name"] == "auto"
    assert spec["drain"] == {"timeout": "60s"}
    assert spec["rollout"]["maxSurge"] == 1


def test_a_pool_without_a_spec_is_one(server: ApiServer) -> None:
    raw = pool({})
    del raw["spec"]
    assert server.apply(raw)["spec"]["blocks"]["max"] == 10


@pytest.mark.parametrize(
    "spec, field",
    [
        ({"blocks": {"min": 3, "max": 2}}, "spec.blocks.min"),
        ({"blocks": {"min": 2, "init": 1, "max": 3}}, "spec.blocks.init"),
        ({"blocks": {"warm": 3, "max": 2}}, "spec.blocks.warm"),
        ({"blocks": {"max": 0}}, "spec.blocks.max"),
        ({"blocks": {"replicas": -1}}, "spec.blocks.replicas"),
        ({"walltime": "30s"}, "spec.walltime"),
        ({"walltime": "soon"}, "spec.walltime"),
        ({"nodesPerBlock": 0}, "spec.nodesPerBlock"),
        ({"workersPerNode": 2, "worker": {"cores": 1}}, "spec.workersPerNode"),
        ({"worker": {}}, "spec.worker"),
        ({"worker": {"memory": "much"}}, "spec.worker.memory"),
        ({"workerInit": "no reference"}, "spec.workerInit"),
        ({"parallelism": 2}, "spec.parallelism"),
        ({"strategy": {"name": "guess"}}, "spec.strategy.name"),
        ({"rollout": {"maxSurge": "many"}}, "spec.rollout.maxSurge"),
        ({"podFailureRules": [{"action": "Ignore"}]}, "spec.podFailureRules[0]"),
        ({"podFailureRules": [{"onReasons": ["X"]}]}, "spec.podFailureRules[0].action"),
        ({"template": {"spec": "text"}}, "spec.template.spec"),
        ({"launcher": {"name": "rocket"}}, "spec.launcher.name"),
        ({"durability": "eternal"}, "spec.durability"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field(server: ApiServer, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        server.apply(pool(spec))
    assert field in str(caught.value)


def test_a_queue_cannot_be_changed(server: ApiServer) -> None:
    made = server.apply(pool({"queueName": "a"}))["metadata"]["name"]
    with pytest.raises(CommandFailed, match="immutable"):
        patch(server, "wp", made, {"queueName": "b"})
    with pytest.raises(CommandFailed, match="immutable"):
        patch(server, "wp", made, {"queueName": None})


def test_what_tasks_survive_can_be_changed_but_to_nothing_and_from_it(server: ApiServer) -> None:
    made = server.apply(pool({}))
    assert made["spec"]["durability"] == "fsync"
    name = made["metadata"]["name"]
    patch(server, "wp", name, {"durability": "journal"})
    with pytest.raises(CommandFailed, match=r"spec\.durability: .*make a new pool"):
        patch(server, "wp", name, {"durability": "memory"})
    fleeting = server.apply(pool({"durability": "memory"}))["metadata"]["name"]
    with pytest.raises(CommandFailed, match=r"spec\.durability: .*make a new pool"):
        patch(server, "wp", fleeting, {"durability": "fsync"})


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": 2},
        {"pool": "other"},
        {"walltime": "2h"},
        {"workersPerNode": 2},
        {"worker": {"cores": 1}},
        {"workerInit": "a:b"},
        {"queueName": "q"},
        {"priorityClassName": "high"},
    ],
)
def test_a_block_cannot_be_changed_but_drained(server: ApiServer, change: dict[str, Any]) -> None:
    made = server.apply(pool({"pool": "p"}, "WorkerBlock"))["metadata"]["name"]
    with pytest.raises(CommandFailed, match="immutable"):
        patch(server, "wb", made, change)
    patch(server, "wb", made, {"drain": True})
    with pytest.raises(CommandFailed, match="stays so"):
        patch(server, "wb", made, {"drain": False})


def test_any_field_of_a_pod_passes(server: ApiServer) -> None:
    template = {"spec": {"containers": [{"name": "worker", "resources": {"limits": {"cpu": 2}}}], "hostPID": False}}
    assert server.apply(pool({"template": template}))["spec"]["template"]["spec"] == template["spec"]


def test_scaling_sets_the_fixed_number(server: ApiServer) -> None:
    made = server.apply(pool({}))["metadata"]["name"]
    server.run("scale", f"wp/{made}", "--replicas=4")
    assert server.json("get", "wp", made)["spec"]["blocks"]["replicas"] == 4
    patch(server, "wp", made, {"blocks": {"replicas": None}})
    assert "replicas" not in server.json("get", "wp", made)["spec"]["blocks"]


def test_the_tables_have_columns_and_the_category_lists_both(server: ApiServer) -> None:
    server.apply(pool({}))
    server.apply(pool({}, "WorkerBlock"))
    assert server.run("get", "wp").split("\n")[0].split()[:4] == ["NAME", "READY", "REASON", "DESIRED"]
    assert server.run("get", "wb").split("\n")[0].split()[:3] == ["NAME", "STATE", "REASON"]
    listed = server.run("get", "blockyard", "--output=name")
    assert "workerpool.blockyard.dev/" in listed
    assert "workerblock.blockyard.dev/" in listed


def test_long_names_are_refused(server: ApiServer) -> None:
    raw = pool({})
    raw["metadata"]["name"] = "p" * 51
    with pytest.raises(CommandFailed, match="longer than 50"):
        server.apply(raw)


def patch(server: ApiServer, kind: str, name: str, spec: dict[str, Any]) -> None:
    server.run("patch", kind, name, "--type=merge", "--patch", json.dumps({"spec": spec}))
