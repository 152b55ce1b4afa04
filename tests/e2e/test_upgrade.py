"""A release of an earlier checkout is upgraded to this one, and rolled back, while tasks run: none is lost."""

import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from tests.cluster import deployables
from tests.cluster.access import Cluster
from tests.cluster.shell import run
from tests.e2e import release as releases
from tests.e2e.release import CHART, Release
from tests.machine import ROOT
from tools import wheels

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster]

SHIPPED = ("client", "interchange", "operator", "worker_image", "charts")
SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
SPEC = {
    "workersPerNode": 2,
    "blocks": {"min": 1, "max": 2},
    "drain": {"timeout": "10s"},
    "template": {"spec": {"containers": [{"name": "worker", "resources": SMALL}]}},
}
TASKS = 400
TASK_SECONDS = 0.2


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Path]:
    """A checkout of the newest tag, else of the last commit before this one that changed what is shipped."""
    tags = run(["git", "tag", "--merged", "HEAD", "--sort=-creatordate"], cwd=ROOT).split()
    found = run(["git", "rev-list", "--skip=1", "--max-count=1", "HEAD", "--", *SHIPPED], cwd=ROOT).split()
    if not (tags or found):
        pytest.skip("this checkout has no history")
    place = tmp_path / "earlier"
    run(["git", "worktree", "add", "--detach", place, *(tags or found)[:1]], cwd=ROOT)
    for image in wheels.LOCKS:  # most have the same locks, and need not be fetched again
        wheels.fetch(image)
    shutil.copytree(ROOT / wheels.WHEELS, place / wheels.WHEELS)
    yield place
    run(["git", "worktree", "remove", "--force", place], cwd=ROOT)


def values(cluster: Cluster, root: Path) -> dict[str, Any]:
    images = deployables.images(cluster.workshop, root=root)
    return {
        "images": releases.named(cluster, images),
        "interchange": {"resources": SMALL, "persistence": {"size": "1Gi"}},
        "operator": {"resources": SMALL},
    }


@pytest.mark.timeout(1800)
def test_tasks_outlive_an_upgrade_and_a_rollback(cluster: Cluster, earlier: Path) -> None:
    before, after = values(cluster, earlier), values(cluster, ROOT)
    assert before["images"] != after["images"], "the two checkouts differ"
    with releases.released(cluster, before, earlier / "charts" / "blockyard") as release:
        release.apply_pool("default", SPEC)
        with release.client("default") as client:
            during(release, client, lambda: release.install(after, CHART))
            during(release, client, lambda: release.helm("rollback", release.name, "1"))
        release.cluster.run("delete", "workerpools", "--all", f"--namespace={release.namespace}", timeout=180)


def during(release: Release, client: Client, change: Callable[[], Any]) -> None:
    """Change the release once some of many tasks have ended, and have all of them end well."""

    def square(number: int, seconds: float) -> int:
        time.sleep(seconds)
        return number * number

    futures = client.starmap(square, zip(range(TASKS), itertools.repeat(TASK_SECONDS)))
    futures[0].result(timeout=300)
    assert not futures[-1].done(), "tasks are still running"
    change()
    release.wait_ready()
    assert [future.result(timeout=600) for future in futures] == [number * number for number in range(TASKS)]
