"""A cluster comes and goes: it refuses what others have, survives the death of who makes it, and leaves nothing."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import remains
from tests.cluster.access import OwnCluster
from tests.cluster.building import workshop
from tests.cluster.cluster import ClusterRefused, ClusterRunner
from tests.cluster.layout import layout_of
from tests.cluster.machine_state import claim
from tests.cluster.shell import run
from tests.cluster.waiting import wait_until
from tests.machine import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster, pytest.mark.timeout(1200)]

WITHIN = 120.0
NAMED = re.compile(r"\bby[0-9a-f]{6}\b")


@pytest.fixture
def second(tmp_path: Path) -> Iterator[ClusterRunner]:
    """A cluster for a checkout that does not exist, beside the one that the other tests use."""
    runner = ClusterRunner(layout_of(tmp_path, {**os.environ, "BLOCKYARD_CLUSTER_NET": "63"}), workshop())
    yield runner
    runner.down()


def machine() -> dict[str, list[str]]:
    """What clusters might leave on the machine without their name on it; others may come and go meanwhile."""
    links = [line.split(":")[1].strip() for line in run(["ip", "-oneline", "link", "show"]).splitlines()]
    found = {
        "interfaces": [name for name in links if not name.startswith("veth")],
        "namespaces": sorted(line.split()[0] for line in run(["ip", "netns", "list"]).splitlines()),
        "rules": run(["iptables", "-w", "-S"]).splitlines() + run(["iptables", "-w", "-t", "nat", "-S"]).splitlines(),
        "routes": run(["ip", "route", "show", "table", "all", "type", "unicast"]).splitlines(),
        "cgroups": sorted(path.name for path in Path("/sys/fs/cgroup").glob("*/*") if path.is_dir()),
    }
    return {kind: [line for line in lines if not NAMED.search(line)] for kind, lines in found.items()}


def test_up_after_a_killed_up_and_nothing_after_down(
    own_cluster: OwnCluster, second: ClusterRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cluster.wait_nodes("node1", "node2")  # two at once: the other one runs all the while
    before = machine()
    monkeypatch.setenv("BLOCKYARD_CLUSTER_NET", "63")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # make sets PYTHONSAFEPATH: the working directory is on nobody's path
    argv = [sys.executable, "-m", "tests.cluster", "--checkout", str(second.layout.checkout), "up"]
    making = subprocess.Popen(argv, cwd=ROOT, start_new_session=True)
    try:
        wait_until("pods of it", lambda: None if _has_pods(second) else str(remains.find(second.layout)), WITHIN)
    finally:
        os.kill(making.pid, signal.SIGKILL)
        making.wait()
    left = remains.find(second.layout)
    assert left.processes
    assert left.mounts
    assert left.namespaces
    assert left.interfaces

    assert second.up()
    assert not second.up()
    second.kubectl.run("create", "namespace", "there")
    second.down()
    assert not remains.find(second.layout), str(remains.find(second.layout))
    assert machine() == before
    second.down()  # what is not there is none to complain about


def test_another_clusters_addresses_are_refused_with_its_name(own_cluster: OwnCluster, tmp_path: Path) -> None:
    number = str(own_cluster.layout.network.network_address.packed[1])
    rival = ClusterRunner(layout_of(tmp_path, {"BLOCKYARD_CLUSTER_NET": number}), workshop())
    with pytest.raises(ClusterRefused, match=f"the test cluster of {own_cluster.layout.checkout}"):
        rival.up()
    assert not remains.find(rival.layout)


def test_a_cluster_of_the_same_name_elsewhere_is_left_alone(second: ClusterRunner) -> None:
    with claim(second.layout) or pytest.fail("the name is taken"):
        for act in (second.up, second.down):
            with pytest.raises(ClusterRefused, match="another root file system"):
                act()


def _has_pods(runner: ClusterRunner) -> bool:
    return any("/sandboxes/" in point for point in remains.find(runner.layout).mounts)
