"""The examples of workflows by `kubectl apply` on a whole cluster: they complete; one that fails ends a wait, too.

Their workers are of an image with matplotlib and MPI, which knows nothing of Blockyard. A block has two pods, each on a
node of its own where there are two, and steps of MPI take both.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import deployables
from tests.cluster.access import Cluster
from tests.cluster.kubectl import Json
from tests.cluster.waiting import wait_until
from tests.e2e import release as releases
from tests.e2e.release import Release
from tests.machine import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster, pytest.mark.timeout(900)]

SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
SPEC = {"workersPerNode": 2, "nodesPerBlock": 2, "blocks": {"max": 1}, "strategy": {"idleTimeout": "60s"}}
APART = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
         "labelSelector": {"matchLabels": {"blockyard.dev/pool": "default"}}}  # fmt: skip
KINDS = ("WorkflowRun", "WorkflowTemplate", "CronWorkflowRun")
EXAMPLES = sorted((ROOT / "examples" / "workflows").glob("*.yaml"))
WITHIN = "--timeout=240s"


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Release]:
    values = {
        "images": releases.image_values(cluster),
        "interchange": {"resources": SMALL, "persistence": {"size": "1Gi"}},
        "operator": {"resources": SMALL},
    }
    with releases.released(cluster, values) as release:
        image = releases.give(
            cluster, deployables.images(cluster.workshop, (deployables.SCIENCE,))[deployables.SCIENCE]
        )
        worker = {"name": "worker", "image": image, "imagePullPolicy": "IfNotPresent", "resources": SMALL}
        template = {"spec": {"containers": [worker], "topologySpreadConstraints": [APART]}}
        release.apply_pool("default", {**SPEC, "template": template})
        yield release


def status(release: Release, name: str) -> dict[str, Any]:
    found: dict[str, Any] = release.cluster.json("get", "wfr", name, "--namespace", release.namespace)["status"]
    return found


def wait(release: Release, name: str) -> None:
    release.cluster.run(
        "wait", "--for=condition=Complete", f"wfr/{name}", WITHIN, "--namespace", release.namespace, timeout=250
    )


def test_each_example_completes(release: Release) -> None:
    """All at once; what runs by a schedule does so at the next minute, instead of in the night."""
    within = f"--namespace={release.namespace}"
    objects: list[Json] = []
    for path in EXAMPLES:
        found = release.cluster.json("apply", f"--filename={path}", within)
        objects += found.get("items", [found])
    names = {kind: [one["metadata"]["name"] for one in objects if one["kind"] == kind] for kind in KINDS}
    assert all(names.values()), names
    for name in names["CronWorkflowRun"]:
        release.cluster.run("patch", "cwfr", name, "--type=merge", '--patch={"spec":{"schedule":"* * * * *"}}', within)
    for name in names["WorkflowRun"]:
        wait(release, name)
        seen = status(release, name)
        assert seen["phase"] == "Succeeded", seen

    def not_yet() -> str | None:
        found = release.cluster.json("get", "cwfr", within)["items"]
        said = {one["metadata"]["name"]: one.get("status", {}) for one in found}
        return None if all("lastSuccessfulTime" in said[name] for name in names["CronWorkflowRun"]) else str(said)

    wait_until("each schedule has had a run that succeeded", not_yet, 240.0)
    release.cluster.run("delete", "cwfr", "--all", within, timeout=60)


APART_RANKS = """
import socket, sys, time
from mpi4py import MPI
world = MPI.COMM_WORLD
hosts = world.allgather(socket.gethostname())
print(world.rank, hosts[world.rank], world.allreduce(world.rank + 1), flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(len(set(hosts)) != 2)
"""


def step_of_mpi(seconds: float) -> Json:
    """Ranks that fail unless they are in two pods."""
    command = ["python3", "-c", APART_RANKS, str(seconds)]
    return {"name": "ranks", "mpi": {"ranks": 4, "nodes": 2, "command": command}, "resources": {"cpu": "100m"}}


def test_ranks_of_a_step_are_in_both_pods_of_a_block(release: Release) -> None:
    apply(release, "ranks", steps=[step_of_mpi(0.0)])
    wait(release, "ranks")
    assert status(release, "ranks")["phase"] == "Succeeded", status(release, "ranks")


def test_a_step_whose_second_pod_is_deleted_runs_again_in_another_block(release: Release) -> None:
    """It may not be tried again for its own faults: the loss is none."""
    apply(release, "bereft", steps=[step_of_mpi(45.0)])
    of_the_pool = "blockyard.dev/pool=default"
    within = f"--namespace={release.namespace}"

    def seconds() -> list[str]:
        running = [one for one in release.pods(of_the_pool) if one["status"]["phase"] == "Running"]
        return [name for one in running if (name := one["metadata"]["name"]).endswith("-1")]

    def not_yet() -> str | None:
        """mpirun's daemon is there, and so the ranks are about to be."""
        look = ("--container=worker", "--", "sh", "-c", "cat /proc/[0-9]*/comm || true")
        seen = [release.cluster.run("exec", name, within, *look, timeout=60) for name in seconds()]
        return None if any("orted" in one for one in seen) else str(seen)

    wait_until("ranks run in the second pod", not_yet, 240.0)
    (second,) = seconds()
    release.cluster.run("delete", "pod", second, "--grace-period=0", "--force", within, timeout=60)
    wait(release, "bereft")
    assert status(release, "bereft")["phase"] == "Succeeded", status(release, "bereft")
    assert second not in seconds()


def apply(release: Release, name: str, **spec: Any) -> None:
    release.cluster.apply(
        {
            "apiVersion": "blockyard.dev/v1alpha1",
            "kind": "WorkflowRun",
            "metadata": {"name": name, "namespace": release.namespace},
            "spec": spec,
        }
    )


def test_a_run_that_fails_ends_the_wait_and_one_that_is_wrong_says_where(release: Release) -> None:
    apply(release, "fails", steps=[{"name": "a", "source": "def main(): raise ValueError('as asked')"}])
    apply(release, "wrong", steps=[{"name": "a", "function": "m:f", "needs": ["b"]}])
    wait(release, "fails")
    wait(release, "wrong")
    assert status(release, "fails")["failures"] == [{"step": "a", "message": "ValueError: as asked"}]
    assert status(release, "wrong")["phase"] == "Invalid"


ONCE = """
from pathlib import Path
from brought import SAYS
def main(word):
    marker = Path("/tmp/blockyard-once")
    if not marker.exists():
        marker.touch()
        raise ValueError("the first time")
    return {"said": f"{SAYS} {word}"}
"""
LOAD = """
from pathlib import Path
def main(word):
    Path("/tmp/blockyard-load").touch(exist_ok=False)
    return word * 2
"""


def wheel() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        file.writestr("brought.py", "SAYS = 'from the wheel'\n")
        file.writestr("brought-1.dist-info/METADATA", "")
    return written.getvalue()


def test_a_template_step_code_in_a_config_map_a_wheel_and_another_attempt(release: Release) -> None:
    """With the operator's rights of the chart. What has succeeded does not run again: `load` would then fail."""
    within = f"--namespace={release.namespace}"
    content = wheel()
    config_map: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "brought", "namespace": release.namespace},
        "data": {"once.py": ONCE},
        "binaryData": {"brought-1-py3-none-any.whl": base64.b64encode(content).decode()},
    }
    release.cluster.apply(config_map)
    # One worker of one pod, so that both attempts find the same /tmp.
    worker = dict(release.pool("default")["spec"]["template"]["spec"]["containers"][0])
    worker["volumeMounts"] = [{"name": "brought", "mountPath": "/opt/brought", "readOnly": True}]
    volume = {"name": "brought", "configMap": {"name": "brought"}}
    template = {"spec": {"containers": [worker], "volumes": [volume]}}
    release.apply_pool("solo", {"workersPerNode": 1, "blocks": {"min": 1, "max": 1}, "template": template})
    once: Json = {
        "name": "once",
        "source": {"configMap": {"name": "brought", "key": "once.py"}},
        "arguments": {"word": "${{ steps.load.result }}"},
        "outputs": ["said"],
    }
    load: Json = {"name": "load", "source": LOAD, "arguments": {"word": "${{ params.word }}"}}
    release.cluster.apply(
        {
            "apiVersion": "blockyard.dev/v1alpha1",
            "kind": "WorkflowTemplate",
            "metadata": {"name": "twice", "namespace": release.namespace},
            "spec": {"parameters": [{"name": "word"}], "steps": [load, once]},
        }
    )
    code = {"file": "file:///opt/brought/brought-1-py3-none-any.whl", "sha256": hashlib.sha256(content).hexdigest()}
    nested: Json = {"name": "prep", "template": "twice", "arguments": {"word": "so"}}
    seen: Json = {
        "name": "seen",
        "source": "def main(said):\n    assert said == 'from the wheel soso', said",
        "arguments": {"said": "${{ steps.prep.result.said }}"},
    }
    apply(release, "brought", pool="solo", code=[code], steps=[nested, seen])
    wait(release, "brought")
    first = status(release, "brought")
    assert first["phase"] == "Failed", first
    assert {"step": "prep-once", "message": "ValueError: the first time"} in first["failures"], first
    release.cluster.run("patch", "wfr", "brought", "--type=merge", '--patch={"spec":{"attempt":2}}', within)
    succeeded = "--for=jsonpath={.status.phase}=Succeeded"
    release.cluster.run("wait", succeeded, "wfr/brought", WITHIN, within, timeout=250)
    assert status(release, "brought")["steps"]["succeeded"] == 3, status(release, "brought")
    release.cluster.run("delete", "workerpool", "solo", within, "--wait", timeout=180)
