"""The file system of the state folder turns read-only while tasks run, as ext4 does after an error of the disk."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client
from tests.integration.chaos.programs import owner
from tests.integration.chaos.workload import executions
from tests.integration.processes import WITHIN, House, Process, kill, stop
from tests.machine import import_path

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(300)]

COUNT = 2000
LEASE = 3.0
"""Of a system with the default heartbeat."""


class Disk:
    """An ext4 file system in a file."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "image"
        self.mount_point = folder / "disk"
        self.mount_point.mkdir()
        with self._image.open("wb") as file:
            file.truncate(64 * 1024 * 1024)
        _run("mkfs.ext4", "-q", str(self._image))
        self._device = _run("losetup", "--find", "--show", str(self._image))
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "errors=remount-ro", self._device, str(self.mount_point))

    def fail(self, writer: Process) -> None:
        """What an error in its structures does: nothing can be written any more.

        It keeps from the disk what is not there yet, which only the class `fsync` outlives. So all is brought there
        first, and the writer stands still until nothing more can be written.
        """
        stop(writer)
        _run("sync", "--file-system", str(self.mount_point))
        Path(f"/sys/fs/ext4/{Path(self._device).name}/trigger_fs_error").write_text("x")
        assert kill(writer, signal.SIGCONT)

    def repair(self) -> None:
        """Nobody uses it any more."""
        _run("umount", str(self.mount_point))
        subprocess.run(["fsck.ext4", "-y", self._device], check=False, stdout=subprocess.DEVNULL)

    def remove(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.mount_point)], check=False)
        _run("losetup", "--detach", self._device)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def disk() -> Iterator[Disk]:
    with tempfile.TemporaryDirectory(prefix="by-", dir="/tmp") as name:
        try:
            disk = Disk(Path(name))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no loop device with ext4 here: {error}")
        try:
            yield disk
        finally:
            disk.remove()


def test_work_waits_and_what_was_acknowledged_goes_on_after_the_repair(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(disk.mount_point))
    house = House(disk.mount_point / "blockyard" / "runs" / "sweep")
    program = [sys.executable, owner.__file__, "sweep", str(COUNT), str(tmp_path / "marks")]
    first = subprocess.Popen(
        program, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": import_path()}
    )
    assert first.stdout is not None
    try:
        assert "ready\n" in iter(first.stdout.readline, ""), first.wait()
        (interchange,) = house.interchanges()
        other = Client.connect(house.folder)
        assert other.submit(abs, -1).result(WITHIN) == 1
        disk.fail(interchange)
        waiting = other.submit(abs, -2)
        with pytest.raises(TimeoutError):
            waiting.result(LEASE)
        assert house.interchanges() == [interchange], "it lives and tries again"
        other.shutdown(wait=False, cancel_futures=True)
    finally:
        first.kill()
        first.communicate()
        house.wait_until_empty()
    disk.repair()
    disk.mount()
    with Client.local(workers=2, run="sweep") as client:
        results = [future.result(WITHIN) for future in client.reattach()]
        assert len(results) == len(set(results)), "a task came twice"
        assert set(range(20, COUNT)) <= set(results) <= set(range(COUNT))
    assert set(executions(tmp_path / "marks")) == set(range(COUNT))
