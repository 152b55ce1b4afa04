"""Blocks as pods made from outside of the operator: the contract of all providers, on a real cluster."""

from collections.abc import Iterator

import pytest

from blockyard.blocks import watched
from blockyard.blocks.provider import BlockRequest
from blockyard.blocks.states import JobState
from blockyard.blocks.suites import ProviderSuite, Words
from blockyard.ids import BlockId
from blockyard.kube.api import ApiSettings
from blockyard.kube.provider import KubernetesProvider, Pods
from tests.cluster.access import Cluster
from tests.integration.processes import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster, pytest.mark.timeout(600)]


def program_in_a_pod(line: str) -> tuple[str, ...]:
    """The line in a shell of its own: the first process of a container can't be killed from inside."""
    return ("/bin/sh", "-c", 'sh -c "$0" & child=$!; trap "kill $child" TERM; wait $child', line)


@pytest.fixture
def provider(
    cluster: Cluster, namespace: str, python_image: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KubernetesProvider]:
    """One in a namespace of its own, not started."""
    monkeypatch.setattr(watched, "PATIENCE", 120.0)
    made = _provider(cluster, namespace, python_image)
    yield made
    made.close()
    wait_until(
        "its pods are gone", lambda: cluster.json("get", "pods", "-n", namespace)["items"], lambda left: not left, 120.0
    )


@pytest.fixture
def program() -> Words:
    """See `program_in_a_pod`."""
    return program_in_a_pod


class TestKubernetesProvider(ProviderSuite):
    """All of it."""


def test_a_gang_lives_and_dies_together(provider: KubernetesProvider, cluster: Cluster, namespace: str) -> None:
    with watched.watched(provider) as seen:
        line = 'test "$BLOCKYARD_WORKER_INDEX" = 1 && sleep 3 && exit 7; sleep 600'
        job = provider.submit(BlockRequest(block=BlockId("gang"), argv=program_in_a_pod(line), nodes=2))
        seen.state_of(job, JobState.RUNNING)
        (service,) = cluster.json("get", "services", "-n", namespace)["items"]
        assert service["spec"]["clusterIP"] == "None"
        end = seen.end_of(job)
        assert (end.state, end.exit_code) == (JobState.FAILED, 7)
        assert "-1: " in end.message, "which pod it was is said"
        assert not wait_until(
            "all of it is gone",
            lambda: cluster.json("get", "pods,services", "-n", namespace)["items"],
            lambda left: not left,
            120.0,
        )


def test_what_an_earlier_program_left_is_ended(
    provider: KubernetesProvider, cluster: Cluster, namespace: str, python_image: str
) -> None:
    with watched.watched(provider) as seen:
        job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=program_in_a_pod("sleep 600")))
        seen.state_of(job, JobState.RUNNING)
        later = _provider(cluster, namespace, python_image)
        with watched.watched(later) as also:
            mine = later.submit(BlockRequest(block=BlockId("b-0"), argv=program_in_a_pod("sleep 600")))
            also.state_of(mine, JobState.RUNNING)
            (stray,) = provider.end_strays()
            assert also.end_of(mine).state is JobState.CANCELLED
            assert stray.startswith("b-b-0-1-")
        assert provider.status([job])[job].state is JobState.RUNNING


def test_a_pod_that_cannot_be_made_is_refused_with_the_field(provider: KubernetesProvider) -> None:
    with watched.watched(provider), pytest.raises(Exception, match=r"spec\.containers\[0\]\.env\[\d+\]\.name"):
        provider.submit(BlockRequest(block=BlockId("b-0"), argv=("true",), env={"no=name": "x"}))


def _provider(cluster: Cluster, namespace: str, image: str) -> KubernetesProvider:
    pods = Pods(image=image, namespace=namespace, grace=3.0, pull_policy="IfNotPresent")
    return KubernetesProvider(pods, owner="suite", api=ApiSettings(kubeconfig=str(cluster.kubeconfig)))
