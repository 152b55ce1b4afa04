"""The provider of pods held to the contract of all providers, on an API server whose pods are processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard.blocks.faults import ProviderError
from blockyard.blocks.provider import BlockRequest
from blockyard.blocks.states import JobState
from blockyard.blocks.suites import ProviderSuite, Words
from blockyard.blocks.watched import watched
from blockyard.ids import BlockId
from blockyard.kube.api import ApiSettings
from blockyard.kube.provider import KubernetesProvider, Pods
from tests.contract.blocks.pods_as_processes import PodsAsProcesses
from tests.integration.processes import wait_until

SLEEP = ("/bin/sh", "-c", "sleep 600 & trap 'kill $!' TERM; wait $!")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PodsAsProcesses]:
    """The API server."""
    made = PodsAsProcesses(tmp_path)
    yield made
    made.close()


@pytest.fixture
def provider(server: PodsAsProcesses) -> Iterator[KubernetesProvider]:
    """One that is not started; in the end nothing of it is left on the server."""
    made = a_provider(server)
    yield made
    made.close()
    wait_until("nothing is left", lambda: [*server.pods, *server.services], lambda left: not left)


@pytest.fixture
def program() -> Words:
    """The line in a shell of its own, whose end the first process passes on as a code."""
    return lambda line: ("/bin/sh", "-c", 'sh -c "$0" & child=$!; trap "kill $child" TERM; wait $child', line)


class TestKubernetesProvider(ProviderSuite):
    """All of it."""


def test_a_watch_that_breaks_loses_nothing(provider: KubernetesProvider, server: PodsAsProcesses) -> None:
    with watched(provider) as seen:
        job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=("/bin/sh", "-c", "sleep 1; exit 5")))
        seen.state_of(job, JobState.RUNNING)
        server.break_watches()
        end = seen.end_of(job)
        assert (end.state, end.exit_code) == (JobState.FAILED, 5)
        wait_until("it watches again", lambda: server.watches, lambda seen: seen > 1)


def test_a_pod_that_is_gone_after_a_break_has_ended(provider: KubernetesProvider, server: PodsAsProcesses) -> None:
    with watched(provider) as seen:
        job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=SLEEP))
        seen.state_of(job, JobState.RUNNING)
        (pod,) = server.pods
        server.remove(pod)
        server.break_watches(forget=True)
        end = seen.end_of(job)
        assert (end.state, end.reason) == (JobState.CANCELLED, "PodDeleted")


def test_a_gang_ends_with_the_first_that_fails(provider: KubernetesProvider, server: PodsAsProcesses) -> None:
    line = 'test "$BLOCKYARD_WORKER_INDEX" = 1 && sleep 1 && exit 7; sleep 600'
    with watched(provider) as seen:
        job = provider.submit(BlockRequest(block=BlockId("gang"), argv=("/bin/sh", "-c", line), nodes=2))
        seen.state_of(job, JobState.RUNNING)
        assert len(server.pods) == 2
        assert len(server.services) == 1
        end = seen.end_of(job)
        assert (end.state, end.exit_code) == (JobState.FAILED, 7)
        assert "-1: " in end.message


def test_what_an_earlier_program_left_is_ended_and_ours_spared(
    provider: KubernetesProvider, server: PodsAsProcesses
) -> None:
    with watched(provider) as seen:
        job = provider.submit(BlockRequest(block=BlockId("b-0"), argv=SLEEP))
        seen.state_of(job, JobState.RUNNING)
        other = a_provider(server)
        with watched(other) as also:
            theirs = other.submit(BlockRequest(block=BlockId("b-0"), argv=SLEEP))
            also.state_of(theirs, JobState.RUNNING)
            assert len(provider.end_strays()) == 1
            assert also.end_of(theirs).state is JobState.CANCELLED
        assert provider.status([job])[job].state is JobState.RUNNING


def test_no_operator_takes_its_pods_for_its_own(provider: KubernetesProvider, server: PodsAsProcesses) -> None:
    with watched(provider) as seen:
        job = provider.submit(BlockRequest(block=BlockId("gang"), argv=SLEEP, nodes=2))
        seen.state_of(job, JobState.RUNNING)
        for made in (*server.pods.values(), *server.services.values()):
            assert "blockyard.dev/block" not in made["metadata"]["labels"]
            assert "blockyard.dev/pool" not in made["metadata"]["labels"]
        (service,) = server.services.values()
        labels = next(iter(server.pods.values()))["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()


def test_without_a_cluster_it_does_not_start(tmp_path: Path) -> None:
    made = KubernetesProvider(Pods(image="none"), owner="test", api=ApiSettings(kubeconfig=str(tmp_path / "absent")))
    with pytest.raises(ProviderError, match="no usable kubeconfig"):
        made.start(lambda job, status: None)
    with pytest.raises(ProviderError, match="does not run"):
        made.submit(BlockRequest(block=BlockId("b-0"), argv=SLEEP))


@pytest.mark.parametrize("owner", ["", "a b", "-a", "x" * 64])
def test_an_owner_that_is_no_label_is_refused(owner: str) -> None:
    with pytest.raises(ProviderError, match="it becomes a label"):
        KubernetesProvider(Pods(image="none"), owner=owner)


def a_provider(server: PodsAsProcesses) -> KubernetesProvider:
    pods = Pods(image="localhost/none", grace=2.0)
    return KubernetesProvider(pods, owner="suite", api=ApiSettings(kubeconfig=server.kubeconfig(), attempts=1))
