"""README's section on Kubernetes, followed word by word: its commands by a shell, its program by Python.

Only what a user's machine has and this one lacks is put in place first: images of the names that the chart's defaults
have, `helm` and `kubectl` on PATH, and the library, which is installed here already.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import deployables
from tests.cluster.access import Cluster, OwnCluster
from tests.e2e.release import CHART, Release
from tests.machine import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.needs_cluster]

SECTION = re.compile(r"^## On Kubernetes$(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMESPACE = "blockyard"


@pytest.fixture
def machine(cluster: Cluster, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a user with helm, kubectl and a cluster."""
    if not isinstance(cluster, OwnCluster):
        pytest.skip("installs into a namespace of a fixed name, which is not ours in somebody's cluster")
    values = yaml.safe_load((CHART / "values.yaml").read_text())["images"]
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    for name, image in deployables.images(cluster.workshop).items():
        public = f"{values[name]['repository']}:{version}"
        deployables.name_again(cluster.workshop, image, public)
        cluster.load_image(public)
    for name in ("helm", "kubectl"):
        (tmp_path / name).symlink_to(cluster.workshop.program(name))
    yield {
        **os.environ,
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(cluster.kubeconfig),
        "HOME": str(tmp_path),
    }
    cluster.run("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=180)


@pytest.mark.timeout(1200)
def test_the_readmes_quick_start_does_what_it_says(cluster: Cluster, machine: dict[str, str]) -> None:
    section = SECTION.search((ROOT / "README.md").read_text())
    assert section
    answers = []
    for language, text in BLOCK.findall(section[1]):
        command = [sys.executable, "-c", text] if language == "python" else ["bash", "-euc", text]
        done = subprocess.run(command, cwd=ROOT, env=machine, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}\n{Release(cluster, NAMESPACE).story()}"
        answers.append(done.stdout)
    install, program, look, away = answers
    assert "workerpool.blockyard.dev/default created" in install
    assert program.strip() == "500500"
    assert "workerpool.blockyard.dev/default" in look
    assert "workerblock.blockyard.dev/default-" in look
    assert 'release "blockyard" uninstalled' in away
