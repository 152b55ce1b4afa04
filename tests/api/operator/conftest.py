"""Custom resources on the API server, a namespace for each test, and a release in it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.operator.pod_runner import PodRunner
from tests.api.operator.release import Release, released
from tests.cluster.api_server import ApiServer
from tests.machine import ROOT


@pytest.fixture(scope="session")
def server(api_server: ApiServer) -> ApiServer:
    """The API server with our definitions."""
    api_server.run("apply", "--filename", str(ROOT / "crds"))
    api_server.run("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    return api_server


@pytest.fixture
def release(server: ApiServer, tmp_path: Path) -> Iterator[Release]:
    """A release in a namespace of its own; nothing is started."""
    name = f"op-{uuid.uuid4().hex[:8]}"
    server.run("create", "namespace", name)
    server.run("--namespace", name, "create", "serviceaccount", "default")  # no controllers here
    with released(server, name, tmp_path) as made:
        yield made


@pytest.fixture
def runner(release: Release, tmp_path: Path) -> Iterator[PodRunner]:
    """What runs the release's pods."""
    folder = tmp_path / "pods"
    folder.mkdir()
    with PodRunner(release.kubeconfig, release.namespace, folder) as running:
        yield running
        assert running.problem is None, running.problem
