"""Nodes and pods in any number, which exist only as objects: kwok moves their status as kubelets would."""

import contextlib
import json
from collections.abc import Iterator

from tests.cluster import control_plane, processes
from tests.cluster.api_server import ApiServer
from tests.cluster.kubectl import Json
from tests.cluster.waiting import wait_until

SETTINGS = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    "options": {
        "podPlayStageParallelism": 32,  # its four at a time let five pods a second run on a busy machine
        "nodePlayStageParallelism": 4,
        "nodeLeaseParallelism": 4,
        "podsOnNodeSyncParallelism": 4,
    },
}
MANAGED = "kwok.x-k8s.io/node"
END_SECONDS = 2.0
READY_SECONDS = 120.0


def fake_node(name: str, pods: int) -> Json:
    """A Node that kwok takes for its own, with room for `pods` pods."""
    room = {"cpu": "256", "memory": "1Ti", "pods": str(pods)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {MANAGED: "fake"}, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": room, "capacity": room},
    }


@contextlib.contextmanager
def running_kwok(server: ApiServer, nodes: int, pods_per_node: int = 250) -> Iterator[None]:
    """`nodes` Ready nodes on an API server with controllers, and kwok behind them, for the time of the block."""
    settings = server.folder / "kwok.json"
    settings.write_text(json.dumps(SETTINGS))
    argv = [
        str(server.workshop.program("kwok")),
        f"--kubeconfig={server.kubeconfig}",
        f"--config={server.workshop.kwok_stages()}",
        f"--config={settings}",
        f"--manage-nodes-with-annotation-selector={MANAGED}=fake",
        "--node-lease-duration-seconds=40",
    ]
    log = server.folder / "logs" / "kwok.log"
    mark = f"{server.folder.name}-kwok"
    items = [fake_node(f"kwok-{number}", pods_per_node) for number in range(nodes)]
    try:
        processes.start(argv, mark, log)
        server.run("create", "--filename=-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

        def amiss() -> str | None:
            if processes.started(log) is None:
                raise RuntimeError(f"kwok ended: {control_plane.tail(log)}")
            listed = server.json("get", "nodes")["items"]
            ready = sum(control_plane.is_ready(node) for node in listed)
            return None if ready >= nodes else f"{ready} of {nodes} nodes Ready; {control_plane.tail(log)}"

        wait_until("kwok's nodes Ready", amiss, READY_SECONDS)
        yield
    finally:
        processes.end(processes.marked(mark), END_SECONDS)
