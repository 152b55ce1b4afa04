"""Parts die and nodes go while tasks run: none is lost, none is recorded twice, and a status names what happened.

One release with its journal in the chart's own PostgreSQL, which stays on node1; half of the blocks are on either node.
The tests are events, one after the other, each with its share of the tasks; the last one counts them all.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from blockyard.remote import RemoteEngine
from blockyard.workflow.running import WorkflowRun
from tests.cluster import deployables
from tests.cluster.access import OwnCluster
from tests.cluster.kubectl import Json
from tests.e2e import release as releases
from tests.e2e.chaos import ONCE_IN, WITHIN, Chaos, Ear
from tests.integration.questions import pool_status
from tests.machine import Size

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster, pytest.mark.scale, pytest.mark.timeout(1200)]

SMALL = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}
EVENTS = 8
STEPS = 24
"""Of the workflow."""
RESUMES_SECONDS = 60.0
"""Until there are results again after the node of the interchange was cut off; the issue's bound."""
GIVEN_UP = [{"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute",
             "tolerationSeconds": 10} for what in ("not-ready", "unreachable")]  # fmt: skip


def pool(**container: Any) -> dict[str, Any]:
    """Four blocks of one worker, on both nodes."""
    apart = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
             "labelSelector": {"matchLabels": {"blockyard.dev/pool": "default"}}}  # fmt: skip
    worker = {"name": "worker", "resources": SMALL, **container}
    spec = {"containers": [worker], "tolerations": GIVEN_UP, "topologySpreadConstraints": [apart]}
    return {"workersPerNode": 1, "blocks": {"replicas": 4, "max": 8}, "drain": {"timeout": "5s"},
            "rollout": {"maxSurge": 2}, "template": {"spec": spec}}  # fmt: skip


@pytest.fixture(scope="module")
def chaos(own_cluster: OwnCluster, size: Size) -> Iterator[Chaos]:
    """Four blocks work; the interchange is on node1."""
    names = (*deployables.DOCKERFILES, deployables.POSTGRESQL)
    values = {
        "images": releases.image_values(own_cluster, names),
        "interchange": {"journal": "postgresql", "resources": SMALL},
        "operator": {"resources": SMALL},
        "postgresql": {
            "enabled": True,
            "path": deployables.POSTGRESQL_BIN,
            "persistence": {"size": "1Gi"},
            "nodeSelector": {"kubernetes.io/hostname": "node1"},
            "resources": SMALL,
        },
    }
    share = (100_000 if size is Size.FULL else 3_000) // EVENTS
    ear = Ear(str(own_cluster.layout.address))
    with releases.released(own_cluster, values) as release:
        release.apply_pool("default", pool())
        with release.client("default") as client:
            made = Chaos(release, own_cluster, client, ear, share)
            move(made, "interchange", "node1")
            made.wait_whole()
            yield made
        release.cluster.run("delete", "workerpools", "--all", f"--namespace={release.namespace}", timeout=180)
    ear.close()


def move(chaos: Chaos, component: str, node: str) -> None:
    """Have the one pod of a component on a node."""
    if chaos.pod(component)["spec"]["nodeName"] == node:
        return
    (other,) = {"node1", "node2"} - {node}
    chaos.cluster.run("cordon", other)
    chaos.run("delete", "pod", chaos.pod(component)["metadata"]["name"])
    chaos.release.wait_ready()
    chaos.cluster.run("uncordon", other)
    assert chaos.pod(component)["spec"]["nodeName"] == node


def leader(chaos: Chaos) -> Json:
    """The Lease of the operators."""
    lease = f"{chaos.release.name}-operator"
    return chaos.cluster.json(f"--namespace={chaos.release.namespace}", "get", "lease", lease)["spec"]


def test_the_leading_operator_is_killed(chaos: Chaos) -> None:
    before = leader(chaos)

    def kill() -> None:
        chaos.cluster.kill_container(chaos.release.namespace, before["holderIdentity"])

    def renewed() -> bool:
        after = leader(chaos)
        return bool(after["leaseTransitions"] > before["leaseTransitions"] or after["renewTime"] > killed_at)

    killed_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))  # a renewal may be on its way
    chaos.during(kill, lambda: print(json.dumps({"lease renewed after": chaos.wait("a leader", renewed)})))  # noqa: T201
    name = before["holderIdentity"]
    chaos.wait_killed({"metadata": {"name": name}})


@pytest.mark.parametrize("component", ["interchange", "postgresql"])
def test_queue_and_database_are_killed(chaos: Chaos, component: str) -> None:
    victim = chaos.pod(component)
    name = victim["metadata"]["name"]
    chaos.during(lambda: chaos.cluster.kill_container(chaos.release.namespace, name), lambda: chaos.wait_killed(victim))
    chaos.wait("the pool is connected", lambda: _condition(chaos, "Connected")["status"] == "True")


def _condition(chaos: Chaos, kind: str) -> Json:
    conditions = chaos.release.pool("default")["status"]["conditions"]
    return next(one for one in conditions if one["type"] == kind)


def test_a_pod_of_workers_is_killed(chaos: Chaos) -> None:
    chaos.wait_whole()
    victim = chaos.worker_pods()[0]["metadata"]["name"]
    chaos.during(lambda: chaos.cluster.kill_container(chaos.release.namespace, victim))
    assert "SIGKILL" in chaos.wait_named(state="FAILED", reason="SIGKILL")["message"]


def test_a_workflow_goes_on_through_the_death_of_all_three(chaos: Chaos) -> None:
    """Operator, interchange and workers are killed while a run goes on: each step has one result, the right one."""
    names = [f"s{number}" for number in range(STEPS)]
    square = "import time\ndef main(n):\n    time.sleep(1.5)\n    return n * n"
    steps: list[Json] = [
        {"name": name, "source": square, "arguments": {"n": number}} for number, name in enumerate(names)
    ]
    results = [f"${{{{ steps.{name}.result }}}}" for name in names]
    steps.append({"name": "sum", "source": "def main(xs): return sum(xs)", "arguments": {"xs": results}})
    chaos.release.apply_pool("flow", {**pool(), "workersPerNode": 2, "blocks": {"max": 1}})
    kind = {"apiVersion": "blockyard.dev/v1alpha1", "kind": "WorkflowRun"}
    metadata = {"name": "flow", "namespace": chaos.release.namespace}
    chaos.cluster.apply({**kind, "metadata": metadata, "spec": {"pool": "flow", "steps": steps}})

    def status() -> Json:
        return chaos.cluster.json(f"--namespace={metadata['namespace']}", "get", "wfr", "flow").get("status", {})

    chaos.wait("some steps have ended", lambda: status().get("steps", {}).get("succeeded", 0) >= 2)
    victims = [
        chaos.pod("interchange")["metadata"]["name"], leader(chaos)["holderIdentity"],
        *(one["metadata"]["name"] for one in chaos.release.pods("blockyard.dev/pool=flow")),
    ]  # fmt: skip
    for victim in victims:
        chaos.cluster.kill_container(metadata["namespace"], victim)
    assert status()["phase"] == "Running"
    chaos.run("wait", "--for=condition=Complete", "wfr/flow", f"--timeout={WITHIN:.0f}s")
    seen = status()
    assert (seen["phase"], seen["steps"]["succeeded"], seen["steps"]["total"]) == ("Succeeded", STEPS + 1, STEPS + 1)
    engine = chaos.client._engine
    assert isinstance(engine, RemoteEngine)
    run = WorkflowRun(engine, seen["run"])
    assert sorted(one.name for one in run.status(limit=1000).steps) == sorted([*names, "sum"])
    assert [run.result(name, WITHIN) for name in names] == [number * number for number in range(STEPS)]
    assert run.result("sum", WITHIN) == sum(number * number for number in range(STEPS))
    chaos.run("delete", "wfr/flow", "workerpool/flow")
    chaos.wait("its blocks are gone", lambda: not [one for one in chaos.blocks() if one["spec"]["pool"] == "flow"])
    chaos.wait("the pool is connected", lambda: _condition(chaos, "Connected")["status"] == "True")


def test_the_pool_is_rolled_to_another_image(chaos: Chaos) -> None:
    chaos.wait_whole()
    image = chaos.worker_pods()[0]["spec"]["containers"][0]["image"]
    again = f"{image.rpartition(':')[0]}:again"
    for node in chaos.cluster.runner.nodes.values():
        node.name_again(image, again)
    chaos.during(
        lambda: chaos.release.apply_pool("default", pool(image=again)),
        lambda: chaos.wait("it rolls", lambda: _condition(chaos, "Progressing")["reason"] == "RollingOut"),
    )
    chaos.wait("all blocks are new", lambda: not chaos.release.pool("default")["status"]["blocks"]["outdated"])
    assert {one["spec"]["containers"][0]["image"] for one in chaos.worker_pods()} == {again}
    chaos.wait_named(state="SCALED_IN")


def test_the_interchanges_own_keys_are_replaced(chaos: Chaos) -> None:
    """As docs/operator.md says it. Nothing is lost by that, not even what must not run twice, and no block replaced."""
    chaos.wait_whole()
    before, not_repeated = {one["metadata"]["name"] for one in chaos.worker_pods()}, chaos.not_repeated
    secret = ("get", "secret", f"{chaos.release.name}-client", "--output=jsonpath={.data.server_key}")
    server_key = chaos.run(*secret)

    def replace() -> None:
        gone = [{"op": "remove", "path": f"/data/{name}.key"} for name in ("clients", "managers")]
        chaos.run("patch", "secret", f"{chaos.release.name}-keys", "--type=json", f"--patch={json.dumps(gone)}")
        chaos.run("rollout", "restart", f"deployment/{chaos.release.name}-operator")

    def known() -> bool:
        log = chaos.run("logs", chaos.pod("interchange")["metadata"]["name"])
        return all(f"{side} know this interchange by another key" in log for side in ("clients", "managers"))

    began = time.monotonic()
    chaos.during(replace)
    while not known():
        assert time.monotonic() - began < WITHIN, "the interchange still listens with its old keys"
        chaos.during(lambda: None)
    changed = time.monotonic() - began
    chaos.during(lambda: None)
    chaos.wait("the pool is connected", lambda: _condition(chaos, "Connected")["status"] == "True")
    assert chaos.run(*secret) != server_key
    assert {one["metadata"]["name"] for one in chaos.worker_pods()} == before, "no block was replaced"
    assert chaos.not_repeated == not_repeated
    with chaos.release.client("default"):
        pass  # it connects, and the pool is known
    print(json.dumps({"changed over after": changed}))  # noqa: T201


def test_the_pools_key_is_replaced(chaos: Chaos) -> None:
    """Blocks that have the old one are replaced one by one; until the last is gone that is good, too."""
    chaos.wait_whole()
    before, not_repeated = {one["metadata"]["name"] for one in chaos.worker_pods()}, chaos.not_repeated
    secret = ("get", "secret", "default-worker", "--output=jsonpath={.data.pool\\.key}")
    key = chaos.run(*secret)
    chaos.during(
        lambda: chaos.run("annotate", "workerpool/default", "blockyard.dev/rotate-key=monday"),
        lambda: chaos.wait("it rolls", lambda: _condition(chaos, "Progressing")["reason"] == "RollingOut"),
    )
    chaos.wait("all blocks are new", lambda: not before & {one["metadata"]["name"] for one in chaos.worker_pods()})
    chaos.wait_whole()
    assert chaos.run(*secret) != key
    assert chaos.not_repeated == not_repeated, "a block that is replaced hands back or finishes what it has"


def test_a_pools_secret_is_deleted_by_hand(chaos: Chaos) -> None:
    """The next leader makes it again, as every leader does after five minutes, with another key; blocks come anew."""
    chaos.wait_whole()
    before = {one["metadata"]["name"] for one in chaos.worker_pods()}

    def delete() -> None:
        chaos.run("delete", "secret", "default-worker")
        chaos.run("rollout", "restart", f"deployment/{chaos.release.name}-operator")

    chaos.during(delete)
    chaos.wait("all blocks are new", lambda: not before & {one["metadata"]["name"] for one in chaos.worker_pods()})
    chaos.wait_whole()


def test_half_of_the_blocks_are_drained(chaos: Chaos) -> None:
    chaos.wait_whole()
    half = [one["metadata"]["name"] for one in chaos.blocks(state="RUNNING")[:2]]

    def drain() -> None:
        for name in half:
            chaos.run("patch", "workerblock", name, "--type=merge", '--patch={"spec":{"drain":true}}')

    chaos.during(drain)
    chaos.wait("both were drained", lambda: len(chaos.blocks(state="CANCELLED", reason="Drained")) >= 2)


def test_a_node_of_workers_is_cut_off(chaos: Chaos, size: Size) -> None:
    """For longer than the lease of their tries; at full size until their pods are given up, as `ends` shows too."""
    chaos.wait_whole()
    lost = {one["metadata"]["labels"]["blockyard.dev/block"] for one in chaos.worker_pods("node2")}
    assert lost, "there are workers on node2"

    def cut() -> None:
        chaos.cluster.node("node2").cut()

    try:
        chaos.during(
            cut,
            lambda: _wait_named(chaos, lost, {"NodeLost"} if size is Size.FULL else {"NodeLost", "NodeUnreachable"}),
        )
    finally:
        chaos.cluster.node("node2").restore()
        chaos.cluster.wait_nodes("node1", "node2")


def _wait_named(chaos: Chaos, lost: set[str], reasons: set[str]) -> None:
    """Wait until all blocks of a node that is cut off say so."""

    def named() -> bool:
        jobs = {one["metadata"]["name"]: one["status"]["jobStatus"]["reason"] for one in chaos.blocks()}
        return {jobs.get(name) for name in lost} <= reasons

    chaos.wait("blocks of the lost node are named", named)


def test_the_interchanges_node_is_cut_off_and_its_old_process_refused(chaos: Chaos, size: Size) -> None:
    """Its journal is in PostgreSQL on node1: another one goes on there, and the first one, back, must not."""
    move(chaos, "interchange", "node2")
    chaos.wait_whole()
    node, old = chaos.cluster.node("node2"), chaos.pod("interchange")
    took: list[float] = []

    def resumed() -> None:
        began = time.monotonic()
        chaos.besides += 1
        assert chaos.client.options(priority=1).submit(abs, -1).result(timeout=WITHIN) == 1  # behind none of the share
        took.append(time.monotonic() - began)

    try:
        chaos.during(node.cut, resumed)
        with node.without_kubelet():  # which would end the pod that was given up, before it has said a word
            node.restore()
            chaos.wait("the old process is refused", lambda: re.search(REFUSED, node.log_of(old, "interchange")))
    finally:
        node.restore()
        chaos.cluster.wait_nodes("node1", "node2")
    print(json.dumps({"service resumed after the cut of the interchange's node, seconds": took}))  # noqa: T201
    slack = 1 if size is Size.FULL else 2  # in `make test` a machine may be busy with other things
    assert took[0] <= slack * RESUMES_SECONDS


REFUSED = re.compile(r"epoch \d+ is over|another interchange", re.IGNORECASE)


def test_nothing_was_lost_and_nothing_recorded_twice(chaos: Chaos) -> None:
    status = pool_status(chaos.client, f"{chaos.release.namespace}.default")
    submitted = chaos.submitted + chaos.besides
    assert status.submitted == submitted
    assert status.done == submitted - chaos.not_repeated
    assert status.failed == chaos.not_repeated
    twice = {number: count for number, count in chaos.ear.heard.items() if count > 1 and number % ONCE_IN == 0}
    assert not twice, "tasks that must not run twice did"
    chaos.release.helm("test", chaos.release.name, timeout=200)
    again = sum(count - 1 for count in chaos.ear.heard.values() if count > 1)
    print(json.dumps({"tasks": chaos.submitted, "ran again": again, "not repeated": chaos.not_repeated}))  # noqa: T201
