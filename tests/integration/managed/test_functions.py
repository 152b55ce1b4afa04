"""Functions as managed tasks: what goes in and comes out, by a fork server and by an interpreter of their own."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from blockyard.errors import ConfigError
from blockyard.managed import AnalysisConfig, Executor, ManagedResult, MPIExecutor, TaskStatus
from tests.integration.managed import jobs
from tests.machine import ROOT

RunJob = Callable[..., ManagedResult]


def forked(name: str, **parameters: Any) -> ManagedResult:
    """By a fork server."""
    return Executor(getattr(jobs, name), parameters=parameters).execute_task()


def spawned(name: str, **parameters: Any) -> ManagedResult:
    """By an interpreter of its own."""
    executor = Executor(getattr(jobs, name), parameters=parameters, python=sys.executable)
    executor.update_environment({"PYTHONPATH": str(ROOT)})
    return executor.execute_task()


@pytest.fixture(params=[forked, spawned])
def run_job(request: pytest.FixtureRequest) -> RunJob:
    run: RunJob = request.param
    return run


def test_a_function_gives_its_result_and_says_things(run_job: RunJob) -> None:
    found = run_job("add", a=1, b=2)
    assert (found.status, found.payload) == (TaskStatus.COMPLETED, {"sum": 3})
    assert (found.stdout, found.stderr) == ("adding 1 2\n", "")
    record = found.record
    assert (record.parameters, record.metrics) == ({"a": 1, "b": 2}, {"pairs": 1.0})
    assert record.metadata == {"host": "here"}
    assert record.status == "COMPLETED"
    assert record.exit_code == 0
    assert record.code.git_sha or not (ROOT / ".git").exists()
    assert record.usage["maxrss"] > 0
    assert record.ended >= record.started > 0
    assert record.failures == []


def test_a_class_is_run_step_by_step(run_job: RunJob) -> None:
    found = run_job("Peaks", threshold=3)
    assert found.payload == ["init", "pre", "run"]
    assert (found.summary, found.result.impl_schemas) == ({"threshold": 3}, "hdf5;peaks")


def test_an_exception_is_the_reason(run_job: RunJob) -> None:
    found = run_job("fail", words="no peaks")
    assert (found.status, found.reason, found.exit_code) == (TaskStatus.FAILED, "TaskFailed", 1)
    assert found.message == "ValueError: no peaks"
    assert "Traceback" in found.stderr


def test_an_end_without_a_result_is_a_failure(run_job: RunJob) -> None:
    assert run_job("leave", code=0).reason == "NoResult"
    assert run_job("leave", code=3).reason == "ExitCode"


def test_what_no_channel_carries_is_named() -> None:
    assert "type object can't be told" in spawned("strange").message


@pytest.mark.parametrize(
    "task, words",
    [
        (jobs.later, "executor of 'later': it is an async function.* which calls asyncio.run"),
        (5, "task=5 cannot be called; .*give a function, or module:name of it"),
        ("add", "write module:name"),
        (":add", "write module:name"),
        ("jobs:", "write module:name"),
    ],
)
def test_what_could_not_be_run_is_refused_when_it_is_declared(task: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Executor(task)
    with pytest.raises(ConfigError, match=words):
        MPIExecutor(task, ranks=1)


@pytest.mark.parametrize("python", ["", sys.executable])
def test_an_async_function_by_its_name_is_told_what_to_do(python: str) -> None:
    executor = Executor(f"{jobs.__name__}:later", python=python)
    executor.update_environment({"PYTHONPATH": str(ROOT)})
    found = executor.execute_task()
    assert "it made a coroutine, which nothing awaits; give a plain function" in found.message
    assert "never awaited" not in found.stderr


@pytest.mark.parametrize("python", ["", sys.executable])
def test_numbers_that_are_none_come_and_go(python: str) -> None:
    given = {"x": [float("nan"), float("inf")], "y": -float("inf"), "z": np.arange(3), "path": Path("/a b")}
    executor = Executor("tests.integration.managed.jobs:back", python=python, parameters=given)
    executor.update_environment({"PYTHONPATH": str(ROOT)})
    found = executor.execute_task().check()
    assert str(found.payload) == "{'x': [nan, inf], 'y': -inf, 'z': [0, 1, 2], 'path': '/a b'}"
    assert msgspec.json.decode(msgspec.json.encode(found.record), type=AnalysisConfig).status == "COMPLETED"


@pytest.mark.parametrize("value", [object(), b"abc", 1 + 2j, {"in": [object()]}])
def test_a_parameter_that_can_not_be_sent_is_named(value: object) -> None:
    found = Executor("tests.integration.managed.jobs:back", parameters={"x": value}).execute_task()
    assert (found.reason, found.exit_code) == ("ConfigError", None)
    assert "parameter x: " in found.message


def test_a_result_that_is_too_large_says_so() -> None:
    assert "at most; write a file" in forked("large", letters=17 << 20).message


def test_a_figure_becomes_an_artefact(tmp_path: Path) -> None:
    found = Executor(jobs.draw, folder=tmp_path / "run", name="draw").execute_task()
    (figure,) = found.outputs
    assert (figure.kind, Path(figure.path).read_text(), figure.size_bytes) == ("figure", "a figure", 8)
    assert found.payload == {"n": 3, "figure": {"artefact": figure.name}}


@pytest.mark.parametrize("run", [forked, spawned])
@pytest.mark.parametrize("given, code", [(3, 3), ("trouble", 1), (256, 1)])
def test_a_function_that_exits_has_that_code(run: RunJob, given: Any, code: int) -> None:
    found = run("exits", code=given)
    assert (found.status, found.message, found.exit_code) == (TaskStatus.FAILED, f"SystemExit: {given}", code)


@pytest.mark.parametrize("run", [forked, spawned])
def test_text_that_is_no_utf_8_costs_no_result(run: RunJob) -> None:
    assert run("name_of_a_file").check().payload == "a?"


def test_who_misses_a_result_is_told_what_was_no_message() -> None:
    found = forked("says_nonsense")
    assert (found.status, found.reason) == (TaskStatus.FAILED, "NoResult")
    assert "that are no message: 1, the last one: JSON is malformed" in found.message
