"""The journal in the chart's own PostgreSQL: tasks survive the end of the interchange's pod, and of PostgreSQL's."""

import pytest

from tests.cluster import deployables
from tests.cluster.access import Cluster
from tests.e2e import release as releases

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster]

SMALL = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
SPEC = {
    "workersPerNode": 2,
    "blocks": {"max": 1},
    "template": {"spec": {"containers": [{"name": "worker", "resources": SMALL}]}},
}
COUNT = 200


@pytest.mark.timeout(1200)
def test_tasks_outlive_the_pods_of_queue_and_database(cluster: Cluster) -> None:
    values = {
        "images": releases.image_values(cluster, (*deployables.DOCKERFILES, deployables.POSTGRESQL)),
        "interchange": {"journal": "postgresql", "resources": SMALL},
        "operator": {"resources": SMALL},
        "postgresql": {
            "enabled": True,
            "path": deployables.POSTGRESQL_BIN,
            "persistence": {"size": "1Gi"},
            "resources": SMALL,
        },
    }

    def square(number: int) -> int:
        import time

        time.sleep(0.2)
        return number * number

    with releases.released(cluster, values) as release:
        release.apply_pool("default", SPEC)
        with release.client("default") as client:
            for component in ("interchange", "postgresql"):
                futures = client.submit_many(square, range(COUNT))
                futures[0].result(timeout=300)
                (pod,) = release.pods(f"app.kubernetes.io/component={component}")
                release.cluster.run(
                    "delete", "pod", pod["metadata"]["name"], f"--namespace={release.namespace}", timeout=120
                )
                assert [future.result(timeout=300) for future in futures] == [number**2 for number in range(COUNT)]
        release.helm("test", release.name, timeout=200)
        release.cluster.run("delete", "workerpools", "--all", f"--namespace={release.namespace}", timeout=180)
