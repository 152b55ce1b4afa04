"""Processes are found by their mark, told apart from strangers with their pid, and ended whatever they do."""

import os
import uuid
from pathlib import Path

from tests.cluster import processes
from tests.cluster.waiting import wait_until

WITHIN = 60.0
STUBBORN = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"


def new_mark() -> str:
    return f"test-{uuid.uuid4().hex}"


def wait_marked(mark: str, count: int) -> None:
    wait_until(f"{count} processes", lambda: None if len(processes.marked(mark)) >= count else "fewer", WITHIN)


def test_a_process_is_known_by_its_log_until_it_ends(tmp_path: Path) -> None:
    log, mark = tmp_path / "logs" / "one.log", new_mark()
    assert processes.started(log) is None
    pid = processes.start(["sleep", "600"], mark, log)
    assert processes.started(log) == pid
    processes.end([pid], WITHIN)
    assert processes.started(log) is None


def test_another_process_with_its_pid_is_not_taken_for_it(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    processes.pid_file(log).write_text(f"{os.getpid()} 1\n")
    assert processes.started(log) is None


def test_children_carry_the_mark_and_other_clusters_do_not(tmp_path: Path) -> None:
    mark, other = new_mark(), new_mark()
    parent = processes.start(["sh", "-c", "sleep 600 & wait"], mark, tmp_path / "one.log")
    stranger = processes.start(["sleep", "600"], other, tmp_path / "two.log")
    try:
        wait_marked(mark, 2)
        assert parent in processes.marked(mark)
        assert stranger not in processes.marked(mark)
    finally:
        processes.kill([*processes.marked(mark), *processes.marked(other), stranger])
    assert processes.marked(mark) == []


def test_who_does_not_listen_is_killed(tmp_path: Path) -> None:
    mark, log = new_mark(), tmp_path / "one.log"
    pid = processes.start(["sh", "-c", STUBBORN], mark, log)
    wait_until("it is deaf", lambda: None if "deaf" in log.read_text() else "not yet", WITHIN)
    processes.end(processes.marked(mark), 0.3)
    assert processes.started(log) is None
    assert not Path(f"/proc/{pid}").exists()


def test_what_is_gone_is_none_to_end(tmp_path: Path) -> None:
    pid = processes.start(["true"], new_mark(), tmp_path / "one.log")
    processes.kill([pid])
    processes.end([pid], 1)
