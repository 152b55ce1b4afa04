"""The environment that a managed task is given: it is the task's alone, and what it takes is told and kept."""

import os
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from blockyard.managed import BinaryExecutor, Point, TaskStatus, run_managed
from blockyard.managed.again import remarks


def test_the_environment_is_the_tasks_alone() -> None:
    executor = BinaryExecutor("env", ["bash", "-c", "echo $PATH; echo $WHO"])
    executor.update_environment({"PATH": "/opt/none", "WHO": "me"})
    before = dict(os.environ)
    found = executor.execute_task()
    assert found.stdout == f"/opt/none:{os.environ['PATH']}\nme\n"
    assert dict(os.environ) == before
    assert found.record.environment["WHO"] == "me"


def test_a_secret_is_not_in_the_record_by_another_way_either() -> None:
    secret = "hunter2-hunter2"
    words = ["sh", "-c", "echo $API_TOKEN; exit 3", "{{ given }}"]
    executor = BinaryExecutor("env", words, parameters={"given": secret, "list": [{"k": f"a {secret}"}]})
    executor.update_environment({"API_TOKEN": secret})
    found = executor.execute_task()
    assert found.stdout == f"{secret}\n"
    record = found.record
    assert secret not in msgspec.json.encode(record).decode()
    assert (record.command[-1], record.parameters["list"]) == ("<secret>", [{"k": "a <secret>"}])
    assert any("to be written anew" in line for line in remarks(record))


def test_a_script_is_sourced_once_for_all_tasks_with_the_same_environment(tmp_path: Path) -> None:
    script = tmp_path / "setup.sh"
    script.write_text(f"echo sourced >>{tmp_path}/log; export WHO=me")
    for place in range(3):
        executor = BinaryExecutor("env", ["sh", "-c", "echo $WHO; test -n $BLOCKYARD_CHANNEL"])
        executor.shell_source(script)
        assert executor.execute_task().check().stdout == "me\n", place
    assert (tmp_path / "log").read_text() == "sourced\n"


def test_a_missing_script_fails_the_task_before_anything_runs() -> None:
    executor = BinaryExecutor("env", ["true"])
    executor.shell_source("/nonexistent/setup.sh")
    found = executor.execute_task()
    assert (found.status, found.exit_code) == (TaskStatus.FAILED, None)
    assert "/nonexistent/setup.sh" in found.message


def test_a_task_that_is_cancelled_while_its_environment_is_made_never_runs(tmp_path: Path) -> None:
    (tmp_path / "setup.sh").write_text(f"touch {tmp_path}/begun; sleep 1000")
    executor = BinaryExecutor("env", ["touch", "ran"], directory=tmp_path)
    executor.shell_source(tmp_path / "setup.sh", timeout=1000)
    events: list[str] = []
    executor.add_hook(Point.CANCEL_REQUESTED, lambda _, event: events.append(event.contents))

    def cancel() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        executor.cancel("enough")

    canceller = threading.Thread(target=cancel)
    canceller.start()
    found = executor.execute_task()
    canceller.join()
    assert (found.status, found.reason, found.message) == (TaskStatus.CANCELLED, "Cancelled", "enough")
    assert (found.signal, found.record.status, events) == (None, "CANCELLED", ["enough"])
    assert not (tmp_path / "ran").exists()


def test_variables_of_a_function_that_raises_fail_the_task() -> None:
    executor = BinaryExecutor("v", ["true"])
    executor.update_environment(lambda: {"RATE": str(1 / 0)})
    found = executor.execute_task()
    assert (found.status, found.reason, found.exit_code) == (TaskStatus.FAILED, "ZeroDivisionError", None)


@pytest.mark.parametrize("path", ["/nonexistent", None])
def test_a_path_that_takes_the_place_of_the_callers_lacks_nothing(path: str | None) -> None:
    settings = {"environment": {"PYTHONPATH": path}, "environment_mode": "overwrite"}
    run_managed({"binary": [sys.executable, "-c", "import blockyard_shim"], **settings}, check=True)
    found = run_managed({"function": "tests.integration.managed.jobs:where_from", **settings}, check=True)
    assert found.payload["path"][:1] == ([path] if path else found.payload["path"][:1])
    assert "pytest" in found.payload["file"]
