"""The cluster that other tests stand on: its nodes, pods, names, Services, volumes, and what breaks on demand."""

import json
import os
import textwrap
import urllib.request
from pathlib import Path

import pytest

from tests.cluster.access import Cluster, OwnCluster, cluster_for_tests
from tests.cluster.kubectl import Json
from tests.cluster.layout import layout_of
from tests.cluster.nodes import NodeRunner
from tests.cluster.remains import find
from tests.cluster.shell import CommandFailed
from tests.cluster.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster]

WITHIN = 120.0


def pod(image: str, name: str, program: str, **spec: Json) -> Json:
    """A pod that runs a Python program."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-uc", textwrap.dedent(program)],
        **spec.pop("container", {}),
    }
    whole = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole}


def wait_phase(cluster: Cluster, namespace: str, name: str, *phases: str) -> Json:
    """The pod, once it is in one of `phases`."""
    seen: list[Json] = []

    def amiss() -> str | None:
        seen[:] = [cluster.json("get", "pod", name, f"--namespace={namespace}")]
        return None if seen[0]["status"]["phase"] in phases else json.dumps(seen[0]["status"])

    wait_until(f"pod {name} {' or '.join(phases)}", amiss, WITHIN)
    return seen[0]


def run_pod(cluster: Cluster, namespace: str, image: str, name: str, program: str, **spec: Json) -> str:
    """Run a program to its end in a pod; what it printed."""
    cluster.run(
        "create", f"--namespace={namespace}", "--filename=-", given=json.dumps(pod(image, name, program, **spec))
    )
    ended = wait_phase(cluster, namespace, name, "Succeeded", "Failed")
    said = cluster.run("logs", name, f"--namespace={namespace}")
    assert ended["status"]["phase"] == "Succeeded", said
    return said


def workers(cluster: Cluster) -> list[str]:
    """Names of two nodes that take pods."""
    nodes = cluster.json("get", "nodes")["items"]
    taking = [node["metadata"]["name"] for node in nodes if not node["spec"].get("taints")]
    assert len(taking) >= 2, f"two nodes wanted, found {taking}"
    return taking[:2]


SERVE = """
    import http.server, os
    class Name(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(os.uname().nodename.encode())
    http.server.ThreadingHTTPServer(("", 8000), Name).serve_forever()
"""


def ask(target: str) -> str:
    """What a server says to this machine, once it and its rules are there."""
    answers: list[str] = []

    def amiss() -> str | None:
        try:
            with urllib.request.urlopen(target, timeout=5) as answer:
                answers.append(answer.read().decode())
        except OSError as error:
            return str(error)
        return None

    wait_until(f"an answer from {target}", amiss, WITHIN)
    return answers[0]


def test_both_nodes_are_ready(own_cluster: OwnCluster) -> None:
    own_cluster.wait_nodes("node1", "node2")
    nodes = own_cluster.json("get", "nodes")["items"]
    assert {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in nodes} == {
        node.name: str(node.pods) for node in own_cluster.layout.nodes
    }


@pytest.mark.parametrize("node", [0, 1])
def test_a_pod_runs_and_tells_its_story(cluster: Cluster, namespace: str, python_image: str, node: int) -> None:
    said = run_pod(
        cluster,
        namespace,
        python_image,
        "story",
        "print('from', __import__('os').uname().nodename)",
        nodeName=workers(cluster)[node],
    )
    assert said == "from story\n"


@pytest.mark.parametrize("asks_from", [0, 1])
def test_a_service_is_reached_by_name_from_either_node(
    cluster: Cluster, namespace: str, python_image: str, asks_from: int
) -> None:
    cluster.apply(_in(namespace, pod(python_image, "server", SERVE, nodeName=workers(cluster)[0])))
    cluster.apply(_service(namespace))
    wait_phase(cluster, namespace, "server", "Running")
    ask = f"""
        import time, urllib.error, urllib.request
        deadline = time.monotonic() + 60
        while True:
            try:
                print(urllib.request.urlopen("http://web.{namespace}.svc.cluster.local", timeout=5).read().decode())
                break
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
    """
    assert run_pod(cluster, namespace, python_image, "client", ask, nodeName=workers(cluster)[asks_from]) == "server\n"


def test_a_pod_reaches_itself_through_its_service_and_the_machine_reaches_both(
    own_cluster: OwnCluster, namespace: str, python_image: str
) -> None:
    own_cluster.apply(_in(namespace, pod(python_image, "server", SERVE, nodeName="node2")))
    service = own_cluster.apply(_service(namespace))
    address = wait_phase(own_cluster, namespace, "server", "Running")["status"]["podIP"]
    targets = [f"http://{address}:8000", f"http://{service['spec']['clusterIP']}"]
    for target in targets:
        assert ask(target) == "server"
    inside = f"import urllib.request as r; print(r.urlopen({targets[1]!r}, timeout=20).read().decode())"
    assert own_cluster.run("exec", "server", f"--namespace={namespace}", "--", "python3", "-c", inside) == "server\n"


def test_a_claim_is_bound_to_a_static_volume_and_keeps_what_is_written(
    cluster: Cluster, namespace: str, python_image: str
) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    cluster.apply(claim)
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    user = {"runAsUser": 65532, "runAsNonRoot": True}
    where = {"volumes": [volume], "container": mount, "securityContext": user}
    run_pod(cluster, namespace, python_image, "writer", "open('/data/x', 'w').write('kept')", **where)
    assert run_pod(cluster, namespace, python_image, "reader", "print(open('/data/x').read())", **where) == "kept\n"


def test_a_container_over_its_memory_limit_is_oom_killed(cluster: Cluster, namespace: str, python_image: str) -> None:
    limits = {"resources": {"limits": {"memory": "64Mi"}}}
    greedy = pod(python_image, "greedy", "x = bytearray(1 << 29)", container=limits)
    cluster.run("create", f"--namespace={namespace}", "--filename=-", given=json.dumps(greedy))
    ended = wait_phase(cluster, namespace, "greedy", "Failed")
    state = ended["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["reason"], state["exitCode"]) == ("OOMKilled", 137)


def test_a_node_that_is_cut_off_is_not_ready_and_comes_back(own_cluster: OwnCluster) -> None:
    with own_cluster.cut_off("node2"):
        own_cluster.wait_nodes("node1", lost="node2")
    own_cluster.wait_nodes("node1", "node2", seconds=1)


def test_a_killed_node_loses_its_pods_and_comes_back(
    own_cluster: OwnCluster, namespace: str, python_image: str
) -> None:
    sleeper = pod(python_image, "sleeper", "__import__('time').sleep(3600)", nodeName="node2")
    own_cluster.apply(_in(namespace, sleeper))
    wait_phase(own_cluster, namespace, "sleeper", "Running")
    with own_cluster.killed("node2"):
        own_cluster.wait_nodes("node1", lost="node2")
    assert run_pod(own_cluster, namespace, python_image, "again", "print('well')", nodeName="node2") == "well\n"


def test_a_cluster_that_fails_while_it_starts_leaves_nothing(
    own_cluster: OwnCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(node: NodeRunner) -> None:
        raise CommandFailed(f"{node} has no kubelet today")

    for name in ("KUBECONFIG", "BLOCKYARD_KEEP_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(NodeRunner, "start_kubelet", broken)
    with (
        pytest.raises(CommandFailed, match="no kubelet today"),
        cluster_for_tests(own_cluster.workshop, tmp_path),
    ):
        pass
    remains = find(layout_of(tmp_path, os.environ))
    assert not remains, str(remains)


def _service(namespace: str) -> Json:
    spec = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace}, "spec": spec}


def _in(namespace: str, manifest: Json) -> Json:
    manifest["metadata"]["namespace"] = namespace
    return manifest
