"""A part that may have no more threads, processes or files harms itself only; who needs it waits, or is told."""

import contextlib
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client
from tests.integration.processes import WITHIN, House, Process, wait_until
from tests.integration.questions import pool_status

pytestmark = pytest.mark.timeout(300)

PIDS = Path("/sys/fs/cgroup/pids")
LARGE = 2_000_000
"""Bytes: mapped, not copied, which takes a descriptor as long as it is used."""


def _starts_threads(seconds: float) -> int:
    """As many as it gets, and keep them so long."""
    stop, started = threading.Event(), 0
    deadline = time.monotonic() + seconds
    with contextlib.suppress(RuntimeError):
        while True:
            threading.Thread(target=stop.wait, daemon=True).start()
            started += 1
    stop.wait(deadline - time.monotonic())
    stop.set()
    return started


def _opens_files() -> None:
    held = []
    while True:
        held.append(open("/dev/null"))  # noqa: SIM115 - until there are no more


@contextlib.contextmanager
def _at_most(processes: list[Process], most: int) -> Iterator[Path]:
    """A cgroup of these processes, and of what they start, that may have so many threads."""
    group = PIDS / f"blockyard-test-{os.getpid()}"
    group.mkdir()
    try:
        for one in processes:
            (group / "cgroup.procs").write_text(str(one.pid))
        (group / "pids.max").write_text(str(most))
        yield group
        (group / "pids.max").write_text("max")
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (PIDS / "cgroup.procs").write_text(pid)
        group.rmdir()


@pytest.mark.needs_root
def test_where_a_task_takes_all_threads_others_wait_for_a_worker_and_get_one(house: House) -> None:
    if not (PIDS / "cgroup.procs").exists():
        pytest.skip("no cgroup v1 with the controller 'pids'")
    with Client.local(workers=2, folder=house.folder) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        (manager,) = house.managers()
        with _at_most([*house.managers(), *house.workers()], 40) as group:
            greedy = client.submit(_starts_threads, 3.0)
            wait_until("there are no more", (group / "pids.current").read_text, lambda now: int(now) == 40)
            poison = client.submit(os._exit, 3)
            assert greedy.result(WITHIN) > 10
            with pytest.raises(Exception, match="exit code 3"):
                poison.result(WITHIN)
            assert [future.result(WITHIN) for future in client.submit_many(abs, range(20))] == list(range(20))
        assert house.managers() == [manager]


def test_a_task_that_opens_all_files_fails_and_its_worker_goes_on(house: House) -> None:
    with Client.local(workers=1, folder=house.folder) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        before = house.workers()
        for worker in before:
            resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (64, 64))
        with pytest.raises(OSError, match="Too many open files"):
            client.submit(_opens_files).result(WITHIN)
        assert len(client.submit(bytes, LARGE).result(WITHIN)) == LARGE
        assert house.workers() == before


def test_a_manager_without_descriptors_is_replaced_and_its_tasks_go_on(house: House) -> None:
    with Client.local(workers=1, folder=house.folder) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        (manager,) = house.managers()
        now = len(os.listdir(f"/proc/{manager.pid}/fd"))
        resource.prlimit(manager.pid, resource.RLIMIT_NOFILE, (now, now))
        with pytest.raises(Exception, match="exit code 3"):
            client.submit(os._exit, 3).result(WITHIN)  # another worker takes descriptors
        assert client.submit(abs, -2).result(WITHIN) == 2
        assert [one.pid for one in house.managers()] != [manager.pid]
        assert pool_status(client).managers == 1


def test_a_client_without_descriptors_goes_on_with_what_it_has(house: House) -> None:
    with Client.local(workers=1, folder=house.folder) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        next_one = os.dup(0)
        os.close(next_one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, before[1]))
        try:
            assert client.submit(abs, -2).result(WITHIN) == 2
            with pytest.raises(OSError, match="Too many open files"):
                client.submit(len, bytes(LARGE))
            with pytest.raises(OSError, match="Too many open files"):
                client.submit(bytes, LARGE).result(WITHIN)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert client.submit(len, bytes(LARGE)).result(WITHIN) == LARGE
        assert len(client.submit(bytes, LARGE).result(WITHIN)) == LARGE
