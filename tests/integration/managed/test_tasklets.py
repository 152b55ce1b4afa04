"""What comes before and after a task: it changes what runs, fails it, has it skipped, and makes its payload."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

from blockyard.managed import Argument, BinaryExecutor, Executor, TaskletChanges, TaskSkipped, TaskStatus, register
from blockyard.managed.executor import BaseExecutor
from blockyard.managed.models import BinaryParameters
from blockyard.managed.records import OnError
from tests.integration.managed import jobs


def test_tasklets_change_what_runs_and_may_fail_it() -> None:
    executor = BinaryExecutor("t", ["bash", "-c", "echo $GREETING {{ who }}"], parameters={"who": "x"})
    executor.add_tasklet(
        lambda who: TaskletChanges(environment={"GREETING": f"hello {who}"}, parameters={"who": "y"}),
        ["{{ who }}"],
        when="before",
    )
    executor.add_tasklet(lambda: 1 / 0, when="before")
    executor.add_tasklet(lambda who: {"seen": who}, ["{{ who }}"], set_summary=True)
    found = executor.execute_task()
    assert (found.stdout, found.summary) == ("hello x y\n", {"seen": "y"})
    assert [one.message for one in found.record.failures] == ["ZeroDivisionError: division by zero"]
    failing = BinaryExecutor("t", ["true"])
    failing.add_tasklet(lambda: 1 / 0, when="before", on_error="fail")
    result = failing.execute_task()
    assert (result.status, result.reason, result.exit_code) == (TaskStatus.FAILED, "TaskletFailed", None)


@pytest.mark.parametrize("on_error", ["ignore", "fail"])
def test_a_tasklet_may_have_a_task_skipped(tmp_path: Path, on_error: OnError) -> None:
    executor = BinaryExecutor("t", ["touch", "it-ran"], directory=str(tmp_path), folder=str(tmp_path))
    executor.add_tasklet(_skip, when="before", on_error=on_error)
    executor.add_tasklet(lambda: 1 / 0, when="before", on_error="fail")  # what comes behind it isn't called
    executor.add_tasklet(lambda: 1 / 0, on_error="fail")
    found = executor.execute_task()
    assert (found.status, found.reason, found.message) == (TaskStatus.SKIPPED, "TaskSkipped", "no hits in run 7")
    assert found.check() is found, "it did as it should"
    assert not (tmp_path / "it-ran").exists()
    assert '"status":"SKIPPED"' in (tmp_path / "record.json").read_text()
    assert found.record.failures == []


def test_a_tasklet_that_comes_after_it_skips_nothing() -> None:
    executor = BinaryExecutor("t", ["true"])
    executor.add_tasklet(_skip)
    found = executor.execute_task()
    assert found.status is TaskStatus.COMPLETED
    assert [one.message for one in found.record.failures] == ["TaskSkipped: no hits in run 7"]


def _skip() -> None:
    raise TaskSkipped("no hits in run 7")


def test_what_a_tasklet_changes_is_of_that_execution_alone() -> None:
    executor = BinaryExecutor("t", ["bash", "-c", "echo ${GREETING-none} {{ who }}"], parameters={"who": "x"})
    is_first = iter((True, False))
    executor.add_tasklet(
        lambda: TaskletChanges(environment={"GREETING": "hi"}, parameters={"who": "y"}) if next(is_first) else None,
        when="before",
    )
    assert [executor.execute_task().stdout for _ in range(2)] == ["hi y\n", "none x\n"]


class Written(BinaryParameters):
    """Of a program that writes its number where it is told."""

    executable: str = "sh"
    script: Annotated[list[str], Argument(kind="positional")] = ["-c", 'echo $0 > "$1"']
    number: Annotated[int, Argument(kind="positional")] = 1
    out: Annotated[str, Argument(kind="positional", is_result=True)]


@pytest.mark.parametrize("make", [
    lambda given: BinaryExecutor("w", parameters=given),
    lambda given: register("test-written", parameters=Written).executor(given.values()),
    lambda given: register("test-told", Executor, target=jobs.told, parameters=Written).executor(given.values()),
])  # fmt: skip
def test_what_tasklets_make_of_a_models_parameters_must_fit_it(
    make: Callable[[Written], BaseExecutor], tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"number": "7", "out": str(tmp_path / "changed")}
    executor = make(Written(out=str(tmp_path / "given")))
    executor.add_tasklet(lambda: TaskletChanges(parameters=changes), when="before")
    assert executor.execute_task().check().payload == changes["out"]
    assert (tmp_path / "changed").read_text() == "7\n"
    changes["number"] = "many"
    found = executor.execute_task()
    assert (found.reason, found.exit_code) == ("ConfigError", None)
    assert "number='many'" in found.message


def test_a_payload_of_a_tasklets_changes_is_one() -> None:
    executor = BinaryExecutor("t", ["true"])
    executor.add_tasklet(lambda: TaskletChanges(payload=3, summary="three"))
    found = executor.execute_task()
    assert (found.payload, found.summary) == (3, "three")
