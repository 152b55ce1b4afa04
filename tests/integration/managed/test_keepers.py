"""The keepers of programs: one serves many tasks, each as if it were the first; what becomes of them and with them."""

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest

from blockyard import this_try
from blockyard.managed import BinaryExecutor, TaskStatus, keeper, launch
from blockyard.managed.executor import BaseExecutor
from tests.integration.managed.test_attacks import alive, wait_until_gone
from tests.integration.processes import wait_until

PARENT = ["sh", "-c", "echo $PPID"]


@pytest.fixture(autouse=True)
def _no_keeper_waits() -> Iterator[None]:
    launch._end_waiting([threading.get_native_id()])
    yield
    launch._end_waiting([threading.get_native_id()])


def kept_by() -> int:
    """The keeper of a task that runs now."""
    found = BinaryExecutor("parent", PARENT).execute_task().check()
    return int(found.stdout)


def of_children() -> float:
    """Seconds of CPU that this process's children have used, as far as they have ended."""
    found = getrusage(RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def state_of(pid: int) -> str:
    """As proc_pid_stat(5) has it; X when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def test_one_serves_one_task_after_the_other() -> None:
    first = kept_by()
    assert BinaryExecutor("fails", ["sh", "-c", "exit 3"]).execute_task().exit_code == 3
    assert BinaryExecutor("absent", ["/no/such/program"]).execute_task().reason == "NotStarted"
    assert kept_by() == first


def test_a_task_finds_nothing_of_the_one_before() -> None:
    program = "import os, sys; print(sorted(os.listdir('/proc/self/fd')), os.getcwd(), *sorted(os.environ))"
    listed = [sys.executable, "-S", "-c", program]
    before = BinaryExecutor("before", listed, directory="/").execute_task().check().stdout
    leaves = BinaryExecutor("leaves", ["sh", "-c", "sleep 1000 & sleep 1000 & exit 0"], directory="/tmp")
    leaves.update_environment({"MARK": "left"})
    found = leaves.execute_task().check()
    assert (found.record.strays, alive("left")) == (2, [])
    assert found.record.usage["maxrss"] > 0
    after = BinaryExecutor("before", listed, directory="/").execute_task().check()
    assert (after.stdout.split(" /")[1], after.record.strays) == (before.split(" /")[1], 0)
    assert len(after.stdout.split(",")) == len(before.split(","))


def test_what_a_task_used_is_its_own() -> None:
    busy = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    first = BinaryExecutor("busy", [sys.executable, "-S", "-c", busy]).execute_task().check().record.usage
    second = BinaryExecutor("true", ["true"]).execute_task().check().record.usage
    assert first["utime"] + first["stime"] >= 0.25 > second["utime"] + second["stime"]


def test_descriptors_keep_their_numbers_whatever_numbers_they_travel_under() -> None:
    # Pipes above those that a keeper has open, and among them.
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    script = """
        out=${BLOCKYARD_CHANNEL#pipe:}
        echo '{"signal":"TASK_METRIC","contents":{"name":"n","value":1}}' >&${out%,*}
    """
    try:
        for free in (len(taken), 0):
            while len(taken) > free:
                os.close(taken.pop())
            for _ in range(3):
                found = BinaryExecutor("says", ["bash", "-c", script], fill=False).execute_task().check()
                assert found.record.metrics == {"n": 1.0}
    finally:
        for one in taken:
            os.close(one)


def test_one_that_was_killed_while_it_waited_is_replaced() -> None:
    first = kept_by()
    os.kill(first, signal.SIGKILL)
    (waiting,) = launch._waiting[launch._Place(threading.get_native_id(), is_for_functions=False)]
    assert select.select([waiting.socket], [], [], 60.0)[0]
    assert kept_by() != first


def test_one_that_is_killed_loses_its_task_and_the_main_process_with_it() -> None:
    executor = BinaryExecutor("sleeps", ["sleep", "1000"])
    executor.update_environment({"MARK": "orphan"})

    def kill(executor: BaseExecutor, _: object) -> None:
        (waiting,) = wait_until("it runs", lambda: [one for one in alive("orphan") if one != os.getpid()], bool)
        keeper = int(Path(f"/proc/{waiting}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(keeper, signal.SIGKILL)

    executor.add_hook("TASK_STARTED", kill)
    assert executor.execute_task().status is TaskStatus.LOST
    wait_until_gone("orphan")
    kept_by()


def test_each_thread_has_its_own_and_it_ends_with_the_thread() -> None:
    found: list[int] = []

    def in_a_thread() -> None:
        thread = threading.Thread(target=lambda: found.extend([kept_by(), kept_by()]))
        thread.start()
        thread.join()

    in_a_thread()
    theirs, again = found
    assert theirs == again != kept_by()
    wait_until(f"keeper {theirs} has ended", lambda: state_of(theirs), lambda state: state in "ZX")
    in_a_thread()
    assert len(launch._waiting) <= 2  # what the first one's left is not kept


def test_a_forked_process_leaves_its_parents_alone() -> None:
    ours = kept_by()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if not launch._waiting else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert kept_by() == ours


def test_an_executor_that_left_before_it_heard_all_has_left() -> None:
    executors, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with keepers:
        keepers.send(b"a word")
        executors.close()
        assert keeper.receive(keepers) == (b"", [])


def test_what_a_program_used_is_told_at_its_end_and_once() -> None:
    program = "import time; x = bytearray(64 << 20)\nwhile time.process_time() < 0.2: pass"
    launch._end_waiting([threading.get_native_id()])  # those that earlier tasks left
    before = of_children()
    this_try.below.take()
    found = BinaryExecutor("burn", [sys.executable, "-S", "-c", program]).execute_task().check()
    user, system, _, _, peak_kib = this_try.below.take()
    assert user + system >= 0.19
    assert peak_kib == found.record.usage["maxrss"] > 64 << 10
    assert of_children() - before < user + system, "its keeper waits for the next"
    launch._end_waiting([threading.get_native_id()])
    assert of_children() - before >= user + system, "the kernel has it now as well"
    assert this_try.below.take()[:2] == (-user, -system)
