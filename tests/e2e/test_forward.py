"""The port-forward of `Client.kubernetes` on a real cluster: by API server and node to whichever pod serves."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from blockyard.kube.api import ApiSettings
from blockyard.kube.forward import Forward
from blockyard.kube.places import Address
from tests.cluster.access import Cluster
from tests.integration.processes import WITHIN, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster, pytest.mark.timeout(600)]

ECHO = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello")
        while data := self.request.recv(65536):
            self.request.sendall(data)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("", 5001), Echo).serve_forever()
"""


def _echo(image: str) -> list[dict[str, Any]]:
    container = {
        "name": "echo", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["python3", "-c", ECHO],
        "ports": [{"name": "clients", "containerPort": 5001}], "readinessProbe": {"tcpSocket": {"port": "clients"}},
    }  # fmt: skip
    template = {
        "metadata": {"labels": {"app": "echo"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "echo"}}, "template": template}
    ports = [{"name": "clients", "port": 5555, "targetPort": "clients"}]
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "echo"}, "spec": spec},
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"},
            "spec": {"selector": {"app": "echo"}, "ports": ports},
        },
    ]  # fmt: skip


@pytest.fixture
def forward(cluster: Cluster, namespace: str, python_image: str) -> Iterator[Forward]:
    """To a Service whose pod greets and echoes."""
    for made in _echo(python_image):
        made["metadata"]["namespace"] = namespace
        cluster.apply(made)
    cluster.run("rollout", "status", "deployment/echo", f"--namespace={namespace}", "--timeout=120s", timeout=150.0)
    made_forward = Forward(ApiSettings(kubeconfig=str(cluster.kubeconfig)), Address("echo", namespace, 5555))
    made_forward.start()
    yield made_forward
    made_forward.stop()


def _connect(forward: Forward) -> socket.socket | None:
    """A connection that was greeted, or None."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30.0)
    connection.connect(forward.endpoint.removeprefix("ipc://"))
    if connection.recv(5, socket.MSG_WAITALL) == b"hello":
        return connection
    connection.close()
    return None


def test_bytes_come_through_unchanged_and_in_order(forward: Forward) -> None:
    connection = _connect(forward)
    assert connection is not None, forward.complaint
    with connection:
        for size in (1, 70_000, 3_000_000):
            data = os.urandom(size)
            view, received = memoryview(data), bytearray()
            while len(received) < size:
                if view:
                    view = view[connection.send(view[:60_000]) :]
                connection.setblocking(not view)
                try:
                    received += connection.recv(1 << 16)
                except BlockingIOError:
                    pass
                finally:
                    connection.settimeout(30.0)
            assert bytes(received) == data


def test_a_new_connection_goes_to_the_pod_that_serves_now(forward: Forward, cluster: Cluster, namespace: str) -> None:
    first = _connect(forward)
    assert first is not None, forward.complaint
    cluster.run("delete", "pod", "--selector=app=echo", "--wait=false", f"--namespace={namespace}")
    with first:
        assert first.recv(1) == b"", "its end is seen"
    second = wait_until("another pod greets", lambda: _connect(forward), bool, 2 * WITHIN)
    assert second is not None
    second.close()
    assert forward.connections == 2
    assert forward.complaint == ""
