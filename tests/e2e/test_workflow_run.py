"""The examples of workflows by `kubectl apply` on a whole cluster: they complete; one that fails ends a wait, too.

Their workers are of an image with matplotlib and MPI, which knows nothing of Blockyard.
"""

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
SPEC = {"workersPerNode": 2, "blocks": {"max": 1}, "strategy": {"idleTimeout": "60s"}}
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
        release.apply_pool("default", {**SPEC, "template": {"spec": {"containers": [worker]}}})
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


def test_a_run_that_fails_ends_the_wait_and_one_that_is_wrong_says_where(release: Release) -> None:
    def apply(name: str, **spec: Any) -> None:
        release.cluster.apply(
            {
                "apiVersion": "blockyard.dev/v1alpha1",
                "kind": "WorkflowRun",
                "metadata": {"name": name, "namespace": release.namespace},
                "spec": spec,
            }
        )

    apply("fails", steps=[{"name": "a", "source": "def main(): raise ValueError('as asked')"}])
    apply("wrong", steps=[{"name": "a", "function": "m:f", "needs": ["b"]}])
    wait(release, "fails")
    wait(release, "wrong")
    assert status(release, "fails")["failures"] == [{"step": "a", "message": "ValueError: as asked"}]
    assert status(release, "wrong")["phase"] == "Invalid"
