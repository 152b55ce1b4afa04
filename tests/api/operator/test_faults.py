"""The operator while the API server misbehaves: refusals, lost answers, cut and expired watches, lists that lag."""

from collections import Counter

import pytest

from tests.api.operator.pod_runner import PodRunner
from tests.api.operator.release import Release, state_of
from tests.cluster.faults import CONFLICT, INTERNAL, TOO_MANY, CutWatch, ExpireWatch, Fault, Hang, Late, LoseAnswer
from tests.cluster.injector import Injector

pytestmark = [pytest.mark.needs_api_server, pytest.mark.timeout(400)]


def through(injector: Injector, release: Release) -> str:
    """A kubeconfig that leads through the injector."""
    return str(injector.write_kubeconfig(release.folder / "injected"))


def states(release: Release) -> Counter[str]:
    return Counter(state_of(block) for block in release.blocks().values())


def test_blocks_are_made_once_whatever_goes_wrong(release: Release, runner: PodRunner, injector: Injector) -> None:
    release.operator(kubeconfig=through(injector, release))
    release.interchange()
    release.until("it leads", lambda: release.find("lease", "b-operator"))
    injector.inject(
        *(Fault(INTERNAL, "create", "pods", skip=place) for place in (0, 3)),
        *(Fault(LoseAnswer(), "create", "pods", skip=place) for place in (1, 2)),
        *(Fault(LoseAnswer(), "create", "workerblocks", skip=place) for place in (0, 2)),
        Fault(INTERNAL, "create", "workerblocks", skip=1),
        Fault(TOO_MANY, "create", "workerblocks", skip=3),
        *(Fault(CONFLICT, "patch", "workerblocks", skip=place) for place in (0, 3, 4, 9)),
        *(Fault(CONFLICT, "patch", "workerpools", skip=place) for place in (0, 2)),
        *(Fault(INTERNAL, "delete", "pods", skip=place) for place in (0, 2)),
        *(Fault(Late(1.0), "write", "*", skip=place) for place in range(5, 60, 11)),
        *(Fault(CutWatch(3), "watch", "pods", skip=place) for place in (1, 2)),
        Fault(ExpireWatch(4), "watch", "workerblocks", skip=1),
        Fault(CutWatch(2), "watch", "workerpools", skip=1),
    )
    injector.drop_watches()
    release.apply("WorkerPool", "cpu", blocks={"replicas": 4, "max": 8}, drain={"timeout": "3s"})
    release.until("four run", lambda: states(release), lambda seen: seen["RUNNING"] == 4, within=120)
    assert len(release.blocks()) == 4
    assert len(release.pods()) == 4
    release.run("scale", "wp/cpu", "--replicas=1")
    release.until("one runs", lambda: states(release), lambda seen: seen["RUNNING"] == 1, within=120)
    release.until("one pod is left", release.pods, lambda seen: len(seen) == 1, within=60)
    struck = [seen for seen in injector.seen if seen.effect is not None]
    assert len(struck) > 10, "this has tested nothing"


def test_a_deletion_that_no_watch_told_of_comes_to_light(
    release: Release, runner: PodRunner, injector: Injector
) -> None:
    operator = release.operator(kubeconfig=through(injector, release), resync_seconds="3")
    release.interchange()
    release.apply("WorkerPool", "cpu", blocks={"replicas": 2}, drain={"timeout": "3s"})
    release.until("two run", lambda: states(release), lambda seen: seen["RUNNING"] == 2)
    injector.inject(Fault(INTERNAL, "watch", "workerblocks", times=30))
    injector.drop_watches()
    gone = next(iter(release.blocks()))
    release.run("delete", "wb", gone, "--wait=false")
    release.until("another is made", release.blocks, lambda seen: len(seen) == 2 and gone not in seen)
    assert operator.metric("blockyard_operator_watch_missed_total") > 0


def test_a_silent_api_server_costs_the_lease_and_not_more(release: Release, injector: Injector) -> None:
    operator = release.operator(
        kubeconfig=through(injector, release), lease_seconds="5", renew_seconds="1", write_timeout="2"
    )
    release.until("it leads", lambda: operator.leads)
    injector.inject(Fault(Hang(), "*", "leases", times=100))
    assert operator.process.wait(30) == 1
    said = operator.said()
    assert any("lost the Lease" in line["message"] for line in said)
    assert not any("error" in line for line in said if line["message"].startswith("the operator ends")), "no trace"
