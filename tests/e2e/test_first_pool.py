"""The thin path, whole: install the chart, apply a pool, run tasks from outside, watch it shrink, uninstall."""

import json
import statistics
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.access import Cluster, OwnCluster
from tests.cluster.waiting import wait_until
from tests.e2e import release as releases
from tests.e2e.first_task import measure
from tests.e2e.permissions import granted, used
from tests.e2e.release import Release
from tests.machine import Size

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster]

SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
SPEC = {
    "workersPerNode": 2,
    "blocks": {"max": 2},
    "strategy": {"idleTimeout": "3s"},
    "drain": {"timeout": "10s"},
    "template": {"spec": {"containers": [{"name": "worker", "resources": SMALL}]}},
}
ANSWER_SECONDS = 180.0


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Release]:
    values = {
        "images": releases.image_values(cluster),
        "interchange": {"resources": SMALL, "persistence": {"size": "1Gi"}},
        "operator": {"resources": SMALL},
    }
    with releases.released(cluster, values) as release:
        release.apply_pool("default", SPEC)
        yield release


@pytest.mark.scale
def test_tasks_from_outside_run_on_blocks_that_come_and_go(release: Release, size: Size) -> None:
    count = 100_000 if size is Size.FULL else 1_000
    assert not release.pods("blockyard.dev/pool"), "an empty pool has no pods"
    with release.client("default") as client:
        futures = client.submit_many(abs, range(-count, 0))
        assert futures[0].result(timeout=ANSWER_SECONDS) == count
        assert [future.result(timeout=ANSWER_SECONDS) for future in futures] == list(range(count, 0, -1))
        blocks = release.pool("default")["status"]["blocks"]
        assert 0 < blocks["living"] <= 2, blocks
    release.wait_no_blocks("default")


def _apply_foreign(release: Release, python_image: str) -> None:
    """A pool of the base of our images: Debian's Python and nothing of Blockyard."""
    containers = [{"name": "worker", "image": python_image, "imagePullPolicy": "IfNotPresent", "resources": SMALL}]
    release.apply_pool("foreign", {**SPEC, "template": {"spec": {"containers": containers}}})


def test_a_foreign_image_runs_tasks_with_its_own_python(release: Release, python_image: str) -> None:
    _apply_foreign(release, python_image)

    def where_from() -> dict[str, Any]:  # a function within one travels by value: pods do not have this module
        import os

        import blockyard

        return {"blockyard": blockyard.__file__, "uid": os.getuid()}

    with release.client("foreign") as client:
        found = client.submit(where_from).result(timeout=ANSWER_SECONDS)
    assert found["blockyard"].startswith("/blockyard/lib/any/"), found
    assert found["uid"] == 65532
    release.wait_no_blocks("foreign")


@pytest.mark.scale
@pytest.mark.parametrize("pool, ratio", [("default", 1.5), ("foreign", 2.2)])
def test_a_first_task_takes_little_longer_than_a_bare_pod(
    release: Release, python_image: str, size: Size, pool: str, ratio: float
) -> None:
    """Side by side, the pool being empty: our image, and one that the worker's code is brought to."""
    if pool == "foreign":
        _apply_foreign(release, python_image)
    spec = release.pool(pool)["spec"]["template"]["spec"]["containers"][0]
    worker = release.cluster.json("get", "deployment", f"--namespace={release.namespace}", f"{release.name}-operator")
    env = worker["spec"]["template"]["spec"]["containers"][0]["env"]
    image = spec.get("image") or next(one["value"] for one in env if one["name"] == "BLOCKYARD_OPERATOR_WORKER_IMAGE")
    taken = measure(release, pool, image, SMALL, 9 if size is Size.FULL else 2)
    found = statistics.median(one.result for one in taken) / statistics.median(one.bare for one in taken)
    figures = {
        "pool": pool,
        "submit to pod, ms": [round(1000 * one.created) for one in taken],
        "submit to result, s": [round(one.result, 2) for one in taken],
        "kubectl run to end, s": [round(one.bare, 2) for one in taken],
        "ratio": round(found, 2),
    }
    print(json.dumps(figures))  # noqa: T201
    slack = 1 if size is Size.FULL else 2  # two rounds on a busy machine
    assert found <= slack * ratio, figures
    if size is Size.FULL:
        assert statistics.median(one.created for one in taken) <= 0.150, figures
    release.wait_no_blocks(pool)


def test_a_task_that_asks_for_accelerators_is_told_which(release: Release) -> None:
    """The node says that it has two, as a device plug-in would have it say; there are no devices behind them."""
    if not isinstance(release.cluster, OwnCluster):
        pytest.skip("what another cluster's nodes have is not ours to say")
    there = "/status/capacity/nvidia.com~1gpu"
    node = ("patch", "node", "node1", "--subresource=status", "--type=json")
    release.cluster.run(*node, f"--patch={json.dumps([{'op': 'add', 'path': there, 'value': '2'}])}")
    resources = {"requests": {**SMALL["requests"], "nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}
    containers = [{"name": "worker", "resources": resources}]
    release.apply_pool("gpu", {**SPEC, "blocks": {"max": 1}, "template": {"spec": {"containers": containers}}})

    def mine() -> str:
        import os

        return os.environ["BLOCKYARD_ACCELERATORS"]

    with release.client("gpu") as client:
        ones = client.options(accelerators=1).starmap(mine, [()] * 8)
        assert {future.result(timeout=ANSWER_SECONDS) for future in ones} <= {"0", "1"}
        assert client.options(accelerators=2).submit(mine).result(timeout=ANSWER_SECONDS) == "0,1"
        error = client.options(accelerators=3).submit(mine).exception(timeout=ANSWER_SECONDS)
        assert "the largest that fits in pool" in str(error)
    release.wait_no_blocks("gpu")
    release.cluster.run(*node, f"--patch={json.dumps([{'op': 'remove', 'path': there}])}")


def test_a_block_of_two_pods_is_one(release: Release) -> None:
    release.apply_pool("gang", {**SPEC, "nodesPerBlock": 2, "blocks": {"max": 1}})
    with release.client("gang") as client:
        assert client.submit(pow, 2, 10).result(timeout=ANSWER_SECONDS) == 1024
        pods = release.pods("blockyard.dev/pool=gang")
        assert len(pods) == 2
        assert len({one["metadata"]["labels"]["blockyard.dev/block"] for one in pods}) == 1
    release.wait_no_blocks("gang")


@pytest.mark.parametrize("what", ["secrets", "workerblocks.blockyard.dev", "services"])
def test_a_quota_is_said_of_the_pool_or_its_block_and_gives_way(release: Release, what: str) -> None:
    """Of what a pool needs besides pods; a gang's Service is its block's."""
    within = f"--namespace={release.namespace}"
    name = f"quota-{what.partition('.')[0]}"
    release.cluster.run("create", "quota", name, f"--hard=count/{what}=0", within)

    def counted() -> str | None:
        found = release.cluster.json("get", "resourcequota", name, within)
        return None if f"count/{what}" in found.get("status", {}).get("used", {}) else json.dumps(found)

    wait_until("the quota is counted", counted, ANSWER_SECONDS)
    release.apply_pool(name, {**SPEC, "nodesPerBlock": 2, "blocks": {"replicas": 1}})

    def said() -> str | None:
        seen = release.pool(name).get("status", {}).get("conditions", [])
        words = {one["type"]: (one["reason"], one["message"]) for one in seen}
        if words.get("ScalingLimited", ("", ""))[0] == "QuotaExceeded":
            return None
        blocks = release.cluster.json("get", "workerblocks", f"--selector=blockyard.dev/pool={name}", within)["items"]
        jobs = [one.get("status", {}).get("jobStatus", {}) for one in blocks]
        waits = [one for one in jobs if (one.get("state"), one.get("reason")) == ("PENDING", "QuotaExceeded")]
        return None if waits else json.dumps([words, jobs])

    wait_until("it says QuotaExceeded", said, ANSWER_SECONDS)
    release.cluster.run("delete", "quota", name, within)

    def ready() -> str | None:
        status = release.pool(name).get("status", {})
        return None if status.get("blocks", {}).get("ready") == 1 else json.dumps(status)

    wait_until("its block works", ready, ANSWER_SECONDS)
    release.cluster.run("delete", "workerpool", name, within, timeout=120)


def test_a_pool_is_scaled_by_hand_and_back(release: Release) -> None:
    """Fixed blocks without work are there, may be evicted after a while, and are forgotten but for the last few."""
    within = f"--namespace={release.namespace}"
    release.apply_pool("fixed", {**SPEC, "blocks": {"max": 5}})

    def evictable() -> str | None:
        notes = [one["metadata"]["annotations"] for one in release.pods("blockyard.dev/pool=fixed")]
        marks = [note["cluster-autoscaler.kubernetes.io/safe-to-evict"] for note in notes]
        return None if marks == ["true"] * 5 else str(marks)

    release.cluster.run("scale", "workerpool/fixed", "--replicas=5", within)
    wait_until("five idle blocks, which may be evicted", evictable, ANSWER_SECONDS)
    release.cluster.run("scale", "workerpool/fixed", "--replicas=0", within)
    release.wait_no_blocks("fixed")

    def forgotten() -> str | None:
        blocks = release.cluster.json("get", "workerblocks", "--selector=blockyard.dev/pool=fixed", within)["items"]
        return None if 0 < len(blocks) < 5 else f"{len(blocks)} blocks"

    wait_until("the first of the ended blocks are forgotten", forgotten, ANSWER_SECONDS)


def test_helm_test_passes(release: Release) -> None:
    release.helm("test", release.name, "--timeout", "180s", timeout=200)


def test_the_operators_rights_are_used_and_suffice(release: Release) -> None:
    """Every verb of its roles was asked for in this module's tests, and nothing was refused."""
    if not isinstance(release.cluster, OwnCluster):
        pytest.skip("the API server's audit log is not ours to read")
    account = f"system:serviceaccount:{release.namespace}:{release.name}-operator"
    asked, refused = used(release.cluster.audit_log, account)
    assert not refused
    allowed = granted(release)
    assert asked <= allowed, asked - allowed
    only_elsewhere = {
        ("scheduling.k8s.io", "podgroups", "create"),  # served from Kubernetes 1.36 on
        ("blockyard.dev", "workerpools/finalizers", "update"),  # checked on OpenShift, asked for nowhere
        ("blockyard.dev", "workerblocks/finalizers", "update"),
        ("blockyard.dev", "cronworkflowruns/finalizers", "update"),
    }
    at_times = {
        ("", "secrets", "patch"),  # when an endpoint moved, or a key is rotated
        ("blockyard.dev", "workerpools", "get"),  # when a watch missed a change, or an object was there before
        ("blockyard.dev", "workerblocks", "get"),
        ("blockyard.dev", "workflowruns", "get"),
        ("blockyard.dev", "workflowtemplates", "get"),
        ("blockyard.dev", "workflowruns", "delete"),  # when the time of one is over
        ("blockyard.dev", "workflowruns/status", "patch"),  # as in `test_workflow_run`
        ("blockyard.dev", "workflowruns", "create"),
        ("", "configmaps", "get"),  # when a step's source is in one
        ("blockyard.dev", "cronworkflowruns", "get"),
        ("blockyard.dev", "cronworkflowruns/status", "patch"),
        ("", "pods", "get"),
        ("events.k8s.io", "events", "create"),  # when something befalls a block, as in `test_ends_of_blocks`
    }
    assert allowed - asked <= only_elsewhere | at_times, "rights that nobody uses"


def test_nothing_is_left_but_what_the_chart_says(release: Release) -> None:
    within = f"--namespace={release.namespace}"
    release.cluster.run("delete", "workerpools", "--all", within, "--wait", timeout=180)
    release.cluster.run("wait", "pods", "--selector=blockyard.dev/pool", "--for=delete", within, timeout=120)
    release.helm("uninstall", release.name, "--wait")
    ours = f"--selector=app.kubernetes.io/instance={release.name}"
    release.cluster.run("wait", "pods", ours, "--for=delete", within, timeout=120)
    kinds = ",".join(
        ("all", "secrets", "configmaps", "serviceaccounts", "roles", "rolebindings", "networkpolicies",
         "poddisruptionbudgets", "leases", "persistentvolumeclaims")
    )  # fmt: skip
    found = release.cluster.json("get", kinds, within)["items"]
    left = {f"{one['kind']}/{one['metadata']['name']}" for one in found}
    left -= {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
    assert left == {
        f"PersistentVolumeClaim/state-{release.name}-interchange-0",
        f"Secret/{release.name}-keys",
        f"Secret/{release.name}-interchange-keys",
        f"Secret/{release.name}-client",
        f"Lease/{release.name}-operator",
    }, json.dumps(sorted(left))
    assert release.cluster.run("get", "customresourcedefinition", "workerpools.blockyard.dev", "--output=name")
