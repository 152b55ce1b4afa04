"""Many nodes and pods that are only objects."""

import json

import pytest

from tests.cluster.api_server import running_api_server
from tests.cluster.building import workshop
from tests.cluster.kwok import running_kwok
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.needs_api_server

PODS, WITHIN = 100, 120.0


def test_pods_run_on_nodes_that_do_not_exist() -> None:
    with running_api_server(workshop(), controllers=True) as server, running_kwok(server, nodes=3):
        template = {
            "metadata": {"labels": {"app": "many"}},
            "spec": {"containers": [{"name": "main", "image": "localhost/none:1"}]},
        }
        spec = {"replicas": PODS, "selector": {"matchLabels": {"app": "many"}}, "template": template}
        server.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec})

        def amiss() -> str | None:
            pods = server.json("get", "pods", "--selector=app=many")["items"]
            phases = [pod["status"]["phase"] for pod in pods]
            return None if phases == ["Running"] * PODS else json.dumps({p: phases.count(p) for p in set(phases)})

        wait_until(f"{PODS} pods Running", amiss, WITHIN)
        server.run("delete", "deployment", "many", "--cascade=foreground", "--timeout=60s", timeout=90)
        assert server.json("get", "pods")["items"] == []
