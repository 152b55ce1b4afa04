"""The examples of workflows by `kubectl apply` on a whole cluster: they complete; one that fails ends a wait, too."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.access import Cluster
from tests.e2e import release as releases
from tests.e2e.release import Release
from tests.machine import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster]

SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
SPEC = {
    "workersPerNode": 2,
    "blocks": {"max": 1},
    "strategy": {"idleTimeout": "60s"},
    "template": {"spec": {"containers": [{"name": "worker", "resources": SMALL}]}},
}
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
        release.apply_pool("default", SPEC)
        yield release


def status(release: Release, name: str) -> dict[str, Any]:
    found: dict[str, Any] = release.cluster.json("get", "wfr", name, "--namespace", release.namespace)["status"]
    return found


def wait(release: Release, name: str) -> None:
    release.cluster.run(
        "wait", "--for=condition=Complete", f"wfr/{name}", WITHIN, "--namespace", release.namespace, timeout=250
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_completes(release: Release, path: Any) -> None:
    release.cluster.run("apply", "--filename", str(path), "--namespace", release.namespace)
    wait(release, path.stem)
    seen = status(release, path.stem)
    assert seen["phase"] == "Succeeded", seen


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
