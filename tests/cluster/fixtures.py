"""Fixtures of the tests that want a Kubernetes: `cluster` with nodes, `api_server` without.

A test that asks for one carries its marker (`needs_cluster`, `needs_api_server`): the markers decide where it is run.
"""

from collections.abc import Iterator

import pytest

from tests.cluster.access import Cluster, OwnCluster, cluster_for_tests
from tests.cluster.api_server import ApiServer, running_api_server
from tests.cluster.building import workshop
from tests.cluster.injector import Injector, injecting
from tests.cluster.parts import PYTHON_IMAGE
from tests.machine import ROOT


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of KUBECONFIG, or this checkout's own: the one that `make cluster-up` made, else one for this run."""
    with cluster_for_tests(workshop(), ROOT) as found:
        yield found


@pytest.fixture(scope="session")
def own_cluster(cluster: Cluster) -> OwnCluster:
    """The cluster, if its nodes are ours to break; on somebody's cluster such a test is skipped."""
    if not isinstance(cluster, OwnCluster):
        pytest.skip("breaks nodes, which are not ours in the cluster that KUBECONFIG names")
    return cluster


@pytest.fixture(scope="session")
def python_image(cluster: Cluster) -> str:
    """The name by which pods of the cluster get Debian with Python."""
    return PYTHON_IMAGE if isinstance(cluster, OwnCluster) else cluster.load_image(cluster.workshop.base_in_store())


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace for one test."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """The real API server and etcd alone, shared by the session's tests; each takes names of its own."""
    with running_api_server(workshop()) as server:
        yield server


@pytest.fixture
def injector(api_server: ApiServer) -> Iterator[Injector]:
    """A proxy before `api_server` for one test, which says what is to go wrong."""
    with injecting(api_server.url, api_server.certificates) as proxy:
        yield proxy
