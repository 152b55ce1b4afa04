"""Every row of the table of pods in `docs/states.md` that can be made to happen, by its real cause, on a real cluster.

All blocks are applied at once and go their ways side by side; each test waits for its own. `docs/tested.md` lists the
rows that cannot be made here.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from blockyard import errors
from tests.cluster import deployables
from tests.cluster.access import OwnCluster
from tests.cluster.kubectl import Json
from tests.cluster.kwok import fake_node
from tests.cluster.shell import CommandFailed
from tests.cluster.waiting import wait_until
from tests.e2e import release as releases
from tests.e2e.ends import DEAR, GHOST, MAINTENANCE, SEAT, SLOT, TINY, WAIT, by_themselves, deeds, text_of, with_one
from tests.e2e.release import Release

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster]

WITHIN = 240.0
POLL = 0.5
ALONE = [one.name for one in by_themselves("")]
ROOMY = {**TINY, "limits": {"memory": "256Mi"}}
ON_NODE1 = {"kubernetes.io/hostname": "node1"}
KEY = MAINTENANCE["key"]


class Yard:
    """The release, and its blocks by name."""

    def __init__(self, release: Release, worker: str) -> None:
        self.release = release
        self.cluster = release.cluster
        self.ends = {one.name: one for one in (*by_themselves(worker), *deeds(worker))}

    def run(self, *words: str, given: str | None = None) -> str:
        """kubectl in the release's namespace."""
        return self.cluster.run(f"--namespace={self.release.namespace}", *words, given=given)

    def status(self, name: str) -> Json:
        """A block's status."""
        return self.cluster.json(f"--namespace={self.release.namespace}", "get", "workerblock", name).get("status", {})

    def wait(self, name: str, state: str, reason: str, says: str = "") -> Json:
        """Wait for a block's jobStatus, and return it."""
        seen: list[Json] = []

        def amiss() -> str | None:
            try:
                job = self.status(name).get("jobStatus", {})
            except CommandFailed as error:  # a machine at its limits
                return str(error)
            seen[:] = [job]
            fits = job.get("state") == state and re.fullmatch(reason, job.get("reason", ""))
            if fits and re.search(says, text_of(job)):
                return None
            assert not job.get("endedAt"), f"block {name} ended as {job}"
            return json.dumps(job)

        wait_until(f"block {name} {state} {reason} {says!r}", amiss, WITHIN, POLL)
        return seen[0]

    def wait_end(self, name: str) -> Json:
        """Wait until a block's status is what it must come to."""
        end = self.ends[name]
        return self.wait(name, end.state, end.reason, end.says)

    def wait_runs(self, *names: str) -> None:
        """Wait until these blocks run, or at least have a node."""
        for name in names:
            self.wait(name, "RUNNING", "Started")

    def order(self, name: str, program: str) -> None:
        """Tell a block of `DIRECTED` what to do, once its manager has registered; until it has ended."""

        def amiss() -> str | None:
            status = self.status(name)
            return None if status.get("managers") == 1 else json.dumps(status)

        wait_until(f"block {name} has its manager", amiss, WITHIN, POLL)
        self.run("attach", f"{name}-0", "--container=worker", "--stdin", "--quiet", given=f"{program}\n")


@pytest.fixture(scope="module")
def yard(own_cluster: OwnCluster) -> Iterator[Yard]:
    """All blocks are applied, and what takes longest has been begun: node2 is cut off, Node `ghost` removed."""
    images = deployables.images(own_cluster.workshop, (*deployables.DOCKERFILES, deployables.PYPY))
    ours = releases.named(own_cluster, images)
    del ours[deployables.PYPY]
    small = {"resources": {**TINY, "limits": {"memory": "512Mi"}}, "nodeSelector": ON_NODE1}
    values = {
        "images": ours,
        "interchange": {**small, "persistence": {"size": "1Gi"}},
        "operator": {**small, "replicas": 1},
    }
    worker = images["worker"].reference
    with releases.released(own_cluster, values) as release, _nodes_with_slots(own_cluster):
        made = Yard(release, worker)
        made.run("create", "quota", "dear", f"--hard=requests.{DEAR}=0")
        own_cluster.apply(_pod("name-taken-0", release.namespace, worker, {}))
        items = [one.manifest(release.namespace) for one in made.ends.values()]
        own_cluster.apply({"apiVersion": "v1", "kind": "List", "items": items})
        release.apply_pool("no-image", _pool({"image": "localhost:1/no-such-image:1"}))
        release.apply_pool("old-python", _pool({"image": images[deployables.PYPY].reference}))
        release.apply_pool("memory", _pool({"resources": ROOMY}))
        made.wait("node-removed", "PENDING", "Scheduled")
        own_cluster.run("delete", "node", GHOST)
        made.wait_runs("tainted", "node-lost", "deletion-not-done")
        own_cluster.run("taint", "node", "node2", f"{KEY}=now:NoExecute")
        made.wait_end("tainted")
        own_cluster.run("taint", "node", "node2", f"{KEY}-")
        with own_cluster.cut_off("node2"):
            made.run("delete", "pod", "deletion-not-done-0", "--wait=false")
            yield made


@contextlib.contextmanager
def _nodes_with_slots(cluster: OwnCluster) -> Iterator[None]:
    """node1 has what `ends` wants, and there is a Node behind which there is nothing."""
    cluster.run("create", "--filename=-", given=json.dumps(fake_node(GHOST, 10)))
    there = [f"/status/capacity/{name.replace('/', '~1')}" for name in (SLOT, SEAT)]
    patch = [{"op": "add", "path": path, "value": "1"} for path in there]
    cluster.run("patch", "node", "node1", "--subresource=status", "--type=json", f"--patch={json.dumps(patch)}")
    yield
    cluster.run("delete", "node", GHOST, "--ignore-not-found")


def _pool(container: dict[str, Any]) -> dict[str, Any]:
    worker = {"name": "worker", "resources": TINY, **container}
    template = {"spec": {"nodeSelector": ON_NODE1, "containers": [worker]}}
    return {"workersPerNode": 1, "blocks": {"replicas": 1, "max": 1}, "drain": {"timeout": "1s"}, "template": template}


def _pod(name: str, namespace: str, image: str, container: dict[str, Any], **spec: Any) -> Json:
    """A pod that does nothing, and is none of a block's."""
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    main = {"name": "main", "image": image, "command": ["python3", "-c", WAIT], "securityContext": own, **container}
    whole = {
        "containers": [main],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**whole, **spec}}


@pytest.mark.parametrize("name", ALONE)
def test_what_comes_by_itself(yard: Yard, name: str) -> None:
    job = yard.wait_end(name)
    assert (job.get("endedAt") is not None) == (job["state"] in {"FAILED", "MISSING", "TIMEOUT"})


def test_a_gate_that_is_lifted_lets_the_block_run(yard: Yard) -> None:
    patch = [{"op": "remove", "path": "/spec/schedulingGates"}]
    yard.run("patch", "pod", "gated-0", "--type=json", f"--patch={json.dumps(patch)}")
    yard.wait_runs("gated")


def test_another_code_than_0_of_a_program_whose_manager_had_registered(yard: Yard) -> None:
    yard.order("other-code", "sys.exit(7)")
    assert yard.wait_end("other-code")["exitCode"] == 7


def test_an_end_in_order_is_one_though_a_child_was_killed_for_memory(yard: Yard) -> None:
    """The container is stamped OOMKilled."""
    yard.order("in-order", "subprocess.run([sys.executable, '-c', 'b\"x\" * (1 << 30)']); sys.exit(0)")
    assert yard.wait_end("in-order")["exitCode"] == 0


def test_eviction_by_api(yard: Yard) -> None:
    yard.wait_runs("evicted")
    metadata = {"name": "evicted-0", "namespace": yard.release.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{yard.release.namespace}/pods/evicted-0/eviction"
    yard.run("create", "--raw", path, "--filename=-", given=json.dumps(eviction))
    yard.wait_end("evicted")


def test_deletion_by_hand(yard: Yard) -> None:
    yard.wait_runs("deleted")
    yard.run("delete", "pod", "deleted-0", "--wait=false")
    yard.wait_end("deleted")


def test_a_deletion_that_takes_its_time_and_then_is_forced(yard: Yard) -> None:
    yard.wait_runs("forced")
    yard.run("delete", "pod", "forced-0", "--wait=false")
    yard.wait("forced", "RUNNING", "Deleting")
    yard.run("delete", "pod", "forced-0", "--grace-period=0", "--force", "--wait=false")
    yard.wait_end("forced")


def test_a_drain_by_hand(yard: Yard) -> None:
    yard.wait_runs("drained")
    yard.run("patch", "workerblock", "drained", "--type=merge", '--patch={"spec":{"drain":true}}')
    yard.wait_end("drained")


def test_preemption_by_a_pod_of_higher_priority(yard: Yard, namespace: str) -> None:
    """By the scheduler; and, for a critical pod that has its node already, by the kubelet."""
    yard.wait_runs("preempted", "preempted-by-node")
    high = f"high-{namespace}"
    yard.cluster.run("create", "priorityclass", high, "--value=1000")
    image = yard.ends["sidecar"].spec["template"]["spec"]["initContainers"][0]["image"]
    critical = {"nodeName": "node1", "priorityClassName": "system-node-critical"}
    yard.cluster.apply(_pod("high", namespace, image, with_one(SLOT), priorityClassName=high))
    yard.cluster.apply(_pod("critical", namespace, image, with_one(SEAT), **critical))
    yard.wait_end("preempted")
    yard.wait_end("preempted-by-node")
    yard.cluster.run("delete", "priorityclass", high)


def test_a_worker_that_runs_out_of_memory_costs_its_task_and_not_the_pod(yard: Yard) -> None:
    def eat(size: int) -> int:
        return len(b"x" * size)

    with yard.release.client("memory") as client:
        before = client.submit(abs, -1).result(timeout=WITHIN)
        pods = [one["metadata"]["uid"] for one in yard.release.pods("blockyard.dev/pool=memory")]
        with pytest.raises(errors.OutOfMemory):
            client.submit(eat, 1 << 30).result(timeout=WITHIN)
        assert client.submit(eat, 10).result(timeout=WITHIN) == 10 * before
    assert [one["metadata"]["uid"] for one in yard.release.pods("blockyard.dev/pool=memory")] == pods


def test_an_image_that_cannot_be_had_is_said_of_the_pool(yard: Yard) -> None:
    _wait_condition(yard, "no-image", "Ready", "ErrImagePull|ImagePullBackOff")


def test_a_python_that_is_not_ours_is_said_of_the_pool_and_tried_once(yard: Yard) -> None:
    said = _wait_condition(yard, "old-python", "Degraded", "PythonUnsupported")
    assert "pypy" in said
    blocks = yard.cluster.json(
        f"--namespace={yard.release.namespace}", "get", "workerblocks", "--selector=blockyard.dev/pool=old-python"
    )["items"]
    (job,) = [one["status"]["jobStatus"] for one in blocks]
    assert (job["state"], job["reason"], job["exitCode"]) == ("FAILED", "PythonUnsupported", 64)


def _wait_condition(yard: Yard, pool: str, kind: str, reason: str) -> str:
    """Wait until a pool's condition has a reason; its message."""
    found: list[Json] = []

    def amiss() -> str | None:
        conditions = yard.release.pool(pool).get("status", {}).get("conditions", [])
        found[:] = [one for one in conditions if one["type"] == kind]
        return None if found and re.fullmatch(reason, found[0]["reason"]) else json.dumps(conditions)

    wait_until(f"pool {pool} {kind}: {reason}", amiss, WITHIN, POLL)
    return str(found[0]["message"])


@pytest.mark.parametrize("name", ["tainted", "deletion-not-done", "node-lost", "node-removed"])
def test_nodes_that_go(yard: Yard, name: str) -> None:
    """A taint by hand; a node that is cut off; and a Node that was removed: begun by the fixture."""
    yard.wait_end(name)
