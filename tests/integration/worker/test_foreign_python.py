"""A Python that knows nothing of Blockyard runs tasks from a volume that a worker image filled.

The volume is made as the image makes it, of the same wheels, then copied by the same program. Pods, images and
read-only root file systems are the cluster's tests.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockyard_worker.exits import ExitCode
from blockyard_worker.install import install
from tests.integration.worker.peer import Peer, values
from tests.machine import ROOT
from tools import wheels

pytestmark = pytest.mark.timeout(600)  # the first test waits for wheels to be made and fetched

NOBODY = 65532
SAID = "stderr"


def interpreters() -> list[str]:
    """One of each Python from 3.10 on that is here, with a venv module."""
    found = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for place in [*pyenv.glob("3.*/bin/python3"), Path("/usr/bin/python3"), Path(sys.executable).resolve()]:
        asked = [str(place), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        said = (
            subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() if place.exists() else ""
        )
        if said.startswith("3.") and int(said[2:]) >= 10:
            found[said] = str(place)
    return [found[version] for version in sorted(found)]


@pytest.fixture(scope="module")
def volume() -> Iterator[Path]:
    """What `blockyard_worker.install` leaves in a pod's volume; owned by root, open to all for reading."""
    folder = Path(tempfile.mkdtemp(prefix="blockyard-volume-"))
    folder.chmod(0o755)
    image = folder / "image"
    packages = list(wheels.fetch("worker").glob("*.whl"))
    for minor in wheels.MINORS:
        for wheel in wheels.for_minor(packages, minor):
            zipfile.ZipFile(wheel).extractall(image / "lib" / minor)
    zipfile.ZipFile(wheels.build_ours()).extractall(image / "lib" / "any")
    shutil.copy(image / "lib" / "any" / "blockyard_worker" / "start.py", image / "start.py")
    assert install(image, folder / "blockyard")
    yield folder / "blockyard"
    shutil.rmtree(folder)


def start(peer: Peer, volume: Path, python: str, **more: Any) -> subprocess.Popen[bytes]:
    """The worker container's command, with nothing of this project in its environment."""
    settings = {
        "endpoint": peer.endpoint,
        "server_key": peer.keys.public.decode(),
        "key_file": str(peer.key_file),
        "workers": 1,
    }
    path = peer.folder / "settings.json"
    path.write_text(json.dumps(settings))
    environment = {"PATH": "/usr/bin:/bin", "BLOCKYARD_WORKER_BLOCK": f"f-{os.getpid()}", "HOME": "/tmp"}
    command = [python, str(volume / "start.py"), "--settings", str(path)]
    with (peer.folder / SAID).open("wb") as said:
        process = subprocess.Popen(command, env=environment, cwd="/tmp", stderr=said, **more)
    peer.processes.append(process)
    return process


@pytest.mark.parametrize("python", interpreters())
def test_a_foreign_python_runs_tasks_or_says_why_not(python: str, peer: Peer, volume: Path, tmp_path: Path) -> None:
    subprocess.run([python, "-m", "venv", "--without-pip", str(tmp_path / "theirs")], check=True)
    theirs = tmp_path / "theirs" / "bin" / "python3"
    minor = subprocess.check_output(
        [theirs, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True
    ).strip()
    process = start(peer, volume, str(theirs))
    if minor not in wheels.MINORS:
        assert process.wait(timeout=60) == ExitCode.NOT_FOR_THIS_PYTHON
        assert f"Python {minor}; the worker is built for 3.11" in (peer.folder / SAID).read_text()
        return
    peer.wait_joined()
    assert peer.joins[-1].python == minor
    results = values(peer.wait_for(peer.assign(pow, [(n, 2) for n in range(100)])))
    assert results == [n * n for n in range(100)]


@pytest.mark.needs_root
def test_a_user_without_a_name_runs_tasks_and_leaves_no_trace(peer: Peer, volume: Path) -> None:
    """As in a pod: uid 65532, which can write neither the volume nor the interpreter's folders."""
    before = sorted(path.relative_to(volume) for path in volume.rglob("*"))
    for path in (peer.folder, *peer.folder.parents):
        if (
            path.owner() == "root"
            and path.is_relative_to(tempfile.gettempdir())
            and path != Path(tempfile.gettempdir())
        ):
            path.chmod(0o711)
    os.chown(peer.key_file, NOBODY, NOBODY)
    start(peer, volume, "/usr/bin/python3", user=NOBODY, group=NOBODY, extra_groups=[])
    peer.wait_joined()
    assert values(peer.wait_for(peer.assign(os.getuid, [()]))) == [NOBODY]
    assert sorted(path.relative_to(volume) for path in volume.rglob("*")) == before


@pytest.mark.parametrize("state", ["empty", "complete", "half"])
def test_installing_again_completes_and_changes_nothing_that_is_complete(
    state: str, volume: Path, tmp_path: Path
) -> None:
    target = tmp_path / "volume"
    if state == "complete":
        assert install(volume, target)
    if state == "half":
        (target / ".new" / "lib").mkdir(parents=True)
        (target / "lib").mkdir()
    assert install(volume, target) == (state != "complete")
    assert sorted(path.name for path in target.iterdir()) == ["lib", "start.py"]
    assert (target / "lib" / "any" / "blockyard_worker" / "start.py").exists()


def test_the_program_that_installs_says_where_it_must_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "blockyard_worker.install", "/nowhere"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "runs only there" in done.stderr
