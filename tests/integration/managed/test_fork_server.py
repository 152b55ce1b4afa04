"""Fork servers: each task is a fork that finds nothing of the others; what becomes of them and with them."""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blockyard.managed import Executor, Policy, Secret, TaskStatus, launch
from blockyard.managed.executor import BaseExecutor
from tests.integration.managed import jobs
from tests.integration.managed.test_keepers import state_of
from tests.integration.processes import wait_until

HERE = threading.get_native_id


@pytest.fixture(autouse=True)
def _no_server_waits() -> Iterator[None]:
    launch._end_waiting([HERE()])
    yield
    launch._end_waiting([HERE()])


def run(function: Callable[..., Any] | str, **parameters: Any) -> Any:
    return Executor(function, parameters=parameters).execute_task().check().payload


def server_of_now() -> launch.Keeper:
    (waiting,) = launch._waiting[launch._Place(HERE(), is_for_functions=True)]
    return waiting


def wait_for_imports() -> None:
    """Until the server that imports is ready, or has given up."""
    new = launch._importing[HERE()]
    assert select.select([new.keeper.socket], [], [], 60.0)[0]


def warm(function: Callable[..., Any]) -> launch.Keeper:
    """A server that has this function's module, without a task."""
    while not launch._importing.get(HERE()):
        run(function, mark="first")
    wait_for_imports()
    assert launch.who_imported(function.__module__)
    return server_of_now()


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until_ended(*pids: int) -> None:
    wait_until(
        "they have ended", lambda: {pid: state_of(pid) for pid in pids}, lambda now: set(now.values()) <= {"Z", "X"}
    )


def waiting_fork(server: launch.Keeper) -> int:
    return wait_until("a fork waits", lambda: children_of(server.pid), bool)[0]


def test_one_serves_many_tasks_and_each_finds_it_as_it_was() -> None:
    server = warm(jobs.leave_marks)
    first, second = (run(jobs.leave_marks, mark="MARK_OF_A_TASK") for _ in range(2))
    assert first["parent"] == second["parent"] == server.pid
    assert first["random"] != second["random"]
    for found in (first, second):
        assert (found["marks"], found["env"], found["threads"]) == ([], None, 1)
        assert found["folder"] == os.getcwd()
        assert found["path"] != "MARK_OF_A_TASK"


def test_what_a_task_was_told_is_not_in_the_memory_of_the_next(tmp_path: Path) -> None:
    warm(jobs.leave_marks)
    secret, parameter = "hunter2-of-the-one-before", "parameter-of-the-one-before"
    (tmp_path / "secret").write_text(secret)
    executor = Executor(jobs.leave_marks, parameters={"mark": parameter})
    executor.update_environment({"PASSWORD": Secret(f"file:{tmp_path}/secret")})
    executor.execute_task().check()
    for text in (secret, parameter):
        assert run(jobs.find_in_memory, reversed_text=text[::-1]) == 1  # the one it looks for


def test_a_task_has_its_own_descriptors_and_no_others() -> None:
    warm(jobs.leave_marks)
    with open(os.devnull) as _of_the_executor:
        found = run(jobs.open_descriptors)
    assert {"0", "1", "2"} <= found.keys()
    others = [to for number, to in found.items() if number not in ("0", "1", "2")]
    assert [to.partition(":")[0] for to in others] == ["pipe", "pipe"]  # its channel


def test_what_goes_by_value_has_the_state_of_the_call() -> None:
    times = 1

    def repeated() -> str:
        return "x" * times

    assert run(repeated) == "x"
    times = 3
    assert run(repeated) == "xxx"


def test_what_can_not_be_handed_over_is_refused_and_what_does_not_load_says_why() -> None:
    found = Executor(threading.Lock().locked, name="a lock's").execute_task()
    assert (found.status, found.reason) == (TaskStatus.FAILED, "NotSendable")
    found = Executor("no.such.module:f").execute_task()
    assert (found.reason, found.message.partition(":")[0]) == ("TaskFailed", "no.such.module")


@pytest.mark.parametrize("of", ["server", "fork"])
def test_one_that_was_killed_while_it_waited_is_replaced(of: str) -> None:
    server = warm(jobs.leave_marks)
    fork = waiting_fork(server)
    os.kill(server.pid if of == "server" else fork, signal.SIGKILL)
    wait_until_ended(server.pid if of == "server" else fork)
    found = run(jobs.leave_marks, mark="again")
    assert (found["parent"] == server.pid) == (of == "fork")
    wait_until_ended(fork)


def test_a_killed_server_takes_its_task_with_it() -> None:
    executor, found = Executor(jobs.forever), []

    def kill(executor: BaseExecutor, _: object) -> None:
        (server,) = [
            pid for pid in children_of(os.getpid()) if b"fork_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        found.extend(children_of(server))
        os.kill(server, signal.SIGKILL)

    executor.add_hook("TASK_STARTED", kill)
    assert executor.execute_task().status is TaskStatus.LOST
    assert len(found) == 1
    wait_until_ended(*found)


def test_a_function_is_ended_at_its_timeout_and_what_it_left_with_it() -> None:
    policy = Policy(timeout=0.2, grace=5.0, needs_result=True)
    assert Executor(jobs.forever, policy=policy).execute_task().status is TaskStatus.TIMEDOUT
    found = Executor(jobs.stray).execute_task().check()
    assert found.record.strays == 1
    wait_until_ended(found.payload)


BAD = {
    "starts_a_thread": "import threading, time; threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
    "ends_its_process": "import os; os.environ.get('MARK') or os._exit(3)",
}


@pytest.mark.parametrize("name", BAD)
def test_a_module_that_no_server_can_import_stays_with_its_tasks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.py").write_text(f"{BAD[name]}\ndef work():\n    return 'done'\n")
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        executor = Executor(f"{name}:work")
        executor.update_environment({"MARK": "a task"})
        assert executor.execute_task().check().payload == "done"
        if name not in launch._unfit:
            wait_for_imports()
            assert not launch.who_imported(name)
    assert name in launch._unfit
    assert HERE() not in launch._importing


def test_a_module_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import os, time\nif 'MARK' not in os.environ: time.sleep(1000)\ndef work(): return 'done'\n"
    (tmp_path / "hangs.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        executor = Executor("hangs:work")
        executor.update_environment({"MARK": "a task"})
        assert executor.execute_task().check().payload == "done"
    hanging = launch._importing[HERE()].keeper.pid
    launch._end_waiting([HERE()])
    assert state_of(hanging) == "X"


def test_server_and_fork_end_with_their_thread() -> None:
    found: list[int] = []

    def in_a_thread() -> None:
        server = warm(jobs.leave_marks)
        found.extend([server.pid, waiting_fork(server)])

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join(120)
    assert len(found) == 2
    wait_until_ended(*found)
