"""Executors with real processes: what comes of a task, what is recorded, and that nothing stays behind."""

import asyncio
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard.errors import Cancelled, ConfigError
from blockyard.managed import (
    AnalysisConfig,
    BinaryExecutor,
    Executor,
    HookEvent,
    ManagedResult,
    ManagedTaskFailed,
    MPIExecutor,
    Output,
    PipeCommunicator,
    Point,
    Policy,
    Signal,
    SocketCommunicator,
    TaskStatus,
    register,
    run_managed,
)
from blockyard.managed.executor import BaseExecutor
from blockyard.managed.records import Progress
from tests.integration.managed import jobs
from tests.integration.processes import wait_until


def bash(script: str, **others: Any) -> ManagedResult:
    return BinaryExecutor("script", ["bash", "-c", script], **others).execute_task()


def test_a_program_is_run_with_its_words_as_they_are() -> None:
    words = ["printf", "%s|", "a b", "$HOME", "`x`", "{{ name }}", "*", ""]
    found = BinaryExecutor("words", words, parameters={"name": "x y; z"}).execute_task()
    assert found.stdout == "a b|$HOME|`x`|x y; z|*||"
    assert (found.status, found.exit_code, found.stderr) == (TaskStatus.COMPLETED, 0, "")


def test_how_a_program_ends_is_told_exactly() -> None:
    assert (bash("exit 3").reason, bash("exit 3").exit_code) == ("ExitCode", 3)
    found = bash("kill -SEGV $$")
    assert (found.status, found.reason, found.signal, found.exit_code) == (TaskStatus.FAILED, "SIGSEGV", 11, None)


def test_a_program_that_can_not_run_says_why() -> None:
    found = BinaryExecutor("absent", ["/nonexistent/program"]).execute_task()
    assert (found.status, found.reason) == (TaskStatus.FAILED, "NotStarted")
    assert found.message == "program '/nonexistent/program': No such file or directory; nothing was run"
    assert found.record.status == "FAILED"
    with pytest.raises(ManagedTaskFailed, match=r"'absent': FAILED.*No such file"):
        found.check()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "script"
    script.write_text("#!/nonexistent/sh\n")
    script.chmod(0o755)
    assert "PATH" in BinaryExecutor("absent", ["no-such-program"]).execute_task().message
    assert "interpreter" in BinaryExecutor("script", [script]).execute_task().message
    for executor in (
        BinaryExecutor("folder", ["true"], directory="/nonexistent"),
        Executor(jobs.draw, directory="/nonexistent"),
        BinaryExecutor("stdin", ["true"], stdin="/nonexistent"),
        BinaryExecutor("record", ["true"], folder="/proc/nonexistent"),
    ):
        found = executor.execute_task()
        assert found.reason == "NotStarted"
        assert "/nonexistent" in found.message
    assert not Path("record.json").exists()


def test_a_shell_speaks_the_protocol_with_its_own_streams_apart() -> None:
    script = """
      out=${BLOCKYARD_CHANNEL#pipe:}; in=${out#*,}; out=${out%,*}
      echo '{"signal":"TASK_PROGRESS","contents":{"fraction":0.25}}' >&$out
      echo '{"signal":"TASK_REQUEST","contents":"name?","id":1}' >&$out
      read -r answer <&$in; echo "$answer"
      echo '{"signal":"TASK_RESULT","contents":{"payload":"a.h5","summary":{"n":2}}}' >&$out
      echo to stderr >&2
    """
    executor = BinaryExecutor("shell", ["bash", "-c", script])
    executor.add_hook("TASK_REQUEST", lambda own, event: own.respond(event, "yard"), replace=True)
    found = executor.execute_task()
    assert (found.payload, found.summary, found.record.progress) == ("a.h5", {"n": 2}, Progress(fraction=0.25))
    assert found.stdout == '{"signal":"TASK_RESPONSE","contents":"yard","id":1}\n'
    assert found.stderr == "to stderr\n"
    assert found.record.communicators == ["PipeCommunicator: two inherited pipes, JSON lines"]


def test_hooks_are_each_executors_own_in_order_and_a_failing_one_harms_nothing() -> None:
    first, second = (BinaryExecutor(name, ["true"]) for name in ("first", "second"))
    seen: list[str] = []

    async def later(own: BaseExecutor, event: HookEvent) -> None:
        seen.append(f"{own.task} {event.event} async")

    def broken(_own: BaseExecutor, _event: HookEvent) -> None:
        raise RuntimeError("broken hook")

    first.add_hook("task_started", broken)
    first.add_hook(Signal.TASK_STARTED, lambda own, event: seen.append(f"{own.task} {event.event}"))
    first.add_hook(Signal.TASK_STARTED, later)
    for event in (Point.ENV_READY, Point.BEFORE_EXEC, Point.EXITED, Signal.TASK_DONE, Point.RECORDED, Point.FINALISED):
        first.add_hook(event, lambda own, event: seen.append(f"{own.task} {event.event}"))
    found = first.execute_task()
    second.execute_task()
    names = ["ENV_READY", "BEFORE_EXEC", "TASK_STARTED", "TASK_STARTED async", "EXITED", "TASK_DONE", "RECORDED",
             "FINALISED"]  # fmt: skip
    assert seen == [f"first {name}" for name in names]
    (failure,) = found.record.failures
    assert (failure.where, failure.message) == ("TASK_STARTED", "RuntimeError: broken hook")
    assert "broken" in failure.what
    with pytest.raises(ConfigError, match="did you mean 'TASK_STARTED'"):
        first.add_hook("TASK_STARTET", later)


def _is_cancelled(*_given: object) -> None:
    raise Cancelled


@pytest.mark.parametrize("where, status", [("tasklet", "CANCELLED"), ("sink", "COMPLETED")])
def test_one_whose_caller_is_cancelled_behind_its_program_has_a_complete_record(where: str, status: str) -> None:
    """A sink may take its time, and outputs are hashed."""
    records: list[AnalysisConfig] = []
    own = type("Own", (BinaryExecutor,), {"store_configuration": lambda _, record: records.append(record)})
    executor = own("t", ["true"], sinks=[_is_cancelled] if where == "sink" else [])
    if where == "tasklet":
        executor.add_tasklet(_is_cancelled)
    with pytest.raises(Cancelled):
        executor.execute_task()
    assert (records[-1].status, records[-1].exit_code, records[-1].ended > 0) == (status, 0, True)
    assert [failure.what for failure in records[-1].failures] == ["process_results"] * (where == "sink")


async def _cancelled(_own: BaseExecutor, _event: HookEvent) -> None:
    raise asyncio.CancelledError


def _exits(*_given: object) -> None:
    sys.exit("my own end")


def test_a_hook_a_tasklet_and_a_sink_end_no_process_but_their_own() -> None:
    executor = BinaryExecutor("t", ["true"], sinks=[_exits])
    executor.add_hook(Signal.TASK_STARTED, _exits)
    executor.add_hook(Signal.TASK_STARTED, _cancelled)
    executor.add_tasklet(_exits, when="before")
    found = executor.execute_task()
    assert (found.status, found.record.status) == (TaskStatus.COMPLETED, "COMPLETED")
    what = {failure.what for failure in found.record.failures}
    assert what == {"tasklet _exits", "hook _exits", "hook _cancelled", "sink _exits"}


@pytest.mark.parametrize("contents, payload", [('"a.h5"', "a.h5"), ("[1, 2]", [1, 2]), ("null", None), ("{}", None)])
def test_a_result_that_is_no_object_is_the_payload(contents: str, payload: object) -> None:
    says = f'{{"signal":"TASK_RESULT","contents":{contents}}}'
    found = bash(f"out=${{BLOCKYARD_CHANNEL#pipe:}}; echo '{says}' >&${{out%,*}}", fill=False).check()
    assert (found.payload, found.summary) == (payload, None)


def test_what_is_no_utf_8_is_recorded_as_it_can_be_read(tmp_path: Path) -> None:
    """Linux's names, words and variables are bytes."""
    odd = os.fsdecode(b"x\xff")
    executor = BinaryExecutor("ls", ["ls", odd], parameters={"p": odd}, folder=tmp_path)
    executor.update_environment({"ODD": odd})
    found = executor.execute_task()
    assert found.exit_code == 2
    record = msgspec.json.decode((tmp_path / "record.json").read_bytes(), type=AnalysisConfig)
    assert (record.status, record.failures) == ("FAILED", [])
    shown = "x\\udcff"
    assert (record.command[1], record.parameters["p"], record.environment["ODD"]) == (shown, shown, shown)
    assert msgspec.json.encode(found)


def test_declared_outputs_are_verified(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    os.utime(tmp_path / "old", (1e9, 1e9))
    outputs = [Output(name="map", path="map.mtz", kind="map")]
    good = bash("echo data >map.mtz", directory=tmp_path, outputs=outputs)
    assert (good.outputs[0].size_bytes, good.outputs[0].kind) == (5, "map")
    assert good.outputs[0].sha256 == "6667b2d1aab6a00caa5aee5af8ad9f1465e567abf1c209d15727d57b3e8f6e5f"
    stale = bash("true", directory=tmp_path, outputs=[Output(name="old", path="old")])
    assert (stale.status, stale.reason) == (TaskStatus.FAILED, "OutputMissing")
    assert "older than the task" in stale.message
    absent = bash("true", directory=tmp_path, outputs=[Output(name="new", path="new")])
    assert "No such file" in absent.message
    optional = bash("true", directory=tmp_path, outputs=[Output(name="new", path="new", required=False)])
    assert optional.status is TaskStatus.COMPLETED


def test_the_answer_goes_by_the_channel_that_was_asked_by() -> None:
    asks = """import os, blockyard_shim
os.environ["BLOCKYARD_CHANNEL"] = os.environ["SECOND"]
print(blockyard_shim.reporter().request("?"))"""
    first, second = PipeCommunicator(), SocketCommunicator()
    executor = BinaryExecutor("t", [sys.executable, "-c", asks], [first, second])
    executor.update_environment(lambda: {"SECOND": second.address})
    executor.add_hook("TASK_REQUEST", lambda own, event: own.respond(event, "yard"), replace=True)
    assert executor.execute_task().check().stdout == "yard\n"


@pytest.mark.parametrize("step, status", [
    ("pre_task", "FAILED"), ("submit_cmd", "FAILED"), ("submit_task", "FAILED"), ("task_loop", "FAILED"),
    ("finalize_task", "FAILED"), ("process_results", "COMPLETED"), ("store_configuration", "COMPLETED"),
])  # fmt: skip
def test_an_overridden_step_that_raises_leaves_a_complete_record(step: str, status: str) -> None:
    def broken(*_given: object) -> None:
        raise RuntimeError("a mistake of mine")

    records: list[AnalysisConfig] = []
    executor = type("Own", (BinaryExecutor,), {"store_configuration": lambda _, record: records.append(record)})
    found = type("Broken", (executor,), {step: broken})("b", ["true"]).execute_task()
    assert found.status.name == found.record.status == status
    assert "a mistake of mine" in found.message + str(found.record.failures)
    assert [one.status for one in records[-1:]] in ([status], [])


def test_sinks_get_the_result_and_one_that_fails_harms_nothing() -> None:
    seen: list[Any] = []

    def broken(_own: BaseExecutor) -> None:
        raise ConnectionError("no logbook")

    executor = BinaryExecutor("s", ["true"], sinks=[broken, lambda own: seen.append(own.result.payload)])
    executor.add_tasklet(lambda: {"resolution": 1.8}, set_result=True)
    found = executor.execute_task()
    assert (found.status, seen) == (TaskStatus.COMPLETED, [{"resolution": 1.8}])
    (failure,) = found.record.failures
    assert (failure.where, failure.message) == ("process_results", "ConnectionError: no logbook")
    with pytest.raises(ConfigError, match=r"no result sink 'elgo'"):
        BinaryExecutor("s", ["true"], sinks=["elgo"])


def test_the_record_is_there_while_the_task_runs_and_complete_at_its_end(tmp_path: Path) -> None:
    executor = BinaryExecutor("look", ["cat", "record.json"], directory=tmp_path, folder=tmp_path)
    found = executor.execute_task()
    during = msgspec.json.decode(found.stdout, type=AnalysisConfig)
    after = msgspec.json.decode((tmp_path / "record.json").read_bytes(), type=AnalysisConfig)
    assert (during.id, during.status, during.command) == (after.id, "RUNNING", ["cat", "record.json"])
    assert after == found.record
    assert (tmp_path / "stdout").read_text() == found.stdout


def test_a_clock_that_is_set_meanwhile_makes_no_duration_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = BinaryExecutor("short", ["true"])
    executor.add_hook("TASK_STARTED", lambda *_: monkeypatch.setattr(time, "time", lambda: 0.0))
    found = executor.execute_task().check()
    assert 0.0 < found.seconds < 3600.0
    assert found.record.ended == pytest.approx(found.record.started + found.seconds)


def test_stop_and_continue_hold_the_whole_tree() -> None:
    executor = BinaryExecutor("ticks", ["bash", "-c", "while :; do echo t; sleep 0.01; done & wait"])
    states: list[str] = []
    executor.add_hook(Signal.TASK_STOPPED, lambda own, _: states.append(own.course.status.name))
    executor.add_hook(Point.CONTINUED, lambda own, _: states.append(own.course.status.name))
    thread = threading.Thread(target=executor.execute_task)
    thread.start()
    wait_until("it prints", lambda: sum(stream.total_bytes for stream in executor.streams), bool)
    executor.stop()
    wait_until("it is stopped", lambda: states, lambda states: states == ["STOPPED"])
    settled = still(lambda: executor.streams[0].total_bytes)
    executor.resume()
    wait_until("it prints again", lambda: executor.streams[0].total_bytes, lambda total: total > settled)
    executor.cancel("enough")
    thread.join(30)
    assert states == ["STOPPED", "RUNNING"]
    assert (executor.course.status, executor.course.message) == (TaskStatus.CANCELLED, "enough")


def still(value: Callable[[], int]) -> int:
    """The value when it has been the same for a while."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < 0.2:
        if value() != last:
            last, since = value(), time.monotonic()
        time.sleep(0.01)
    return last


def test_several_at_once_in_one_process() -> None:
    executors = [BinaryExecutor(f"n{n}", ["bash", "-c", f"sleep 0.1; echo {n}"]) for n in range(6)]
    found: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda one=one: found.update({one.task: one.execute_task().stdout}))
        for one in executors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {f"n{n}": f"{n}\n" for n in range(6)}


def test_a_socket_serves_children_that_inherit_nothing() -> None:
    contents = '{"name":"a","value":2}'
    script = f"{sys.executable} -m blockyard_shim send TASK_METRIC '{contents}'"
    executor = BinaryExecutor("socket", ["bash", "-c", script], [SocketCommunicator])
    found = executor.execute_task()
    assert found.record.metrics == {"a": 2.0}
    assert isinstance(executor.communicators[0], SocketCommunicator)


def test_a_spec_is_run_and_a_wrong_one_refused(tmp_path: Path) -> None:
    spec = {"binary": ["bash", "-c", "echo $A {{ b }} >out"], "parameters": {"b": 2}, "environment": {"A": "1"},
            "directory": str(tmp_path), "outputs": [{"name": "o", "path": "out"}], "echo": False}  # fmt: skip
    found = run_managed(spec)
    assert (found.status, (tmp_path / "out").read_text()) == (TaskStatus.COMPLETED, "1 2\n")
    assert run_managed({"task": "tests.integration.managed.jobs:test-add", "parameters": {"a": 2}}).payload == 3
    function = "tests.integration.managed.jobs:add"
    assert run_managed({"function": function, "parameters": {"a": 2, "b": 2}}).exit_code == 0
    template = {"binary": ["printf", "%s", "{{ .Name }}"], "fill": False}
    assert run_managed(template).stdout == "{{ .Name }}"
    with pytest.raises(ManagedTaskFailed):
        run_managed({"binary": ["false"]}, check=True)
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"binary": ["x"], "function": "y"}, "give one of"),
        ({"binary": ["x"], "timeout": "soon"}, "timeout"),
        ({"binry": ["x"]}, "binry.*did you mean 'binary'"),
        ({"binary": ["x"], "outputs": [{"name": "o", "pth": "x"}]}, "pth.*did you mean 'path'"),
        ({"binary": ["x"], "timeout": -3}, r"timeout=-3.0; give seconds, 0 or more"),
        ({"binary": ["x"], "grace": float("nan")}, "grace=nan"),
        ({"binary": ["x"], "oversubscribe": True}, "oversubscribe is for function with ranks or binary with ranks"),
        ({"function": "os:getpid", "arguments": {"a": {}}}, "arguments is for binary, and this is function"),
        ({"binary": ["x"], "ranks": 2, "stdin": "/dev/null"}, "stdin is for binary, and this is binary with ranks"),
        ({"task": "x", "ranks": 2}, "ranks is for"),
        ({"binary": ["x"], "arguments": {"a": {"knd": "raw"}}, "parameters": {"a": 1}}, "knd.*did you mean 'kind'"),
        ({"binary": ["x"], "parameters": {"in": 1}, "arguments": {"inn": {}}}, "inn: no such .*did you mean 'in'"),
        ({"function": "os.getpid"}, "write module:name"),
        ({"task": "tests.integration.managed.jobs:test-ad"}, "did you mean 'test-add'"),
    ]
    for wrong, words in wrongs:
        with pytest.raises(ConfigError, match=words):
            run_managed(wrong)


def test_a_registered_task_keeps_what_it_declares_unless_it_is_asked_otherwise(tmp_path: Path) -> None:
    slow = ["sh", "-c", "pwd; sleep 1000"]
    register("test-slow", command=slow, policy=Policy(timeout=2.0), directory="/", echo=False)
    found = run_managed({"task": "test-slow"})
    assert (found.status, found.stdout) == (TaskStatus.TIMEDOUT, "/\n")
    found = run_managed({"task": "test-slow", "timeout": 1.5, "directory": str(tmp_path), "name": "mine"})
    assert (found.message, found.stdout) == ("it ran longer than 1.5 s", f"{tmp_path}\n")
    assert found.record.task_name == "mine"


@pytest.mark.parametrize("declare, words", [
    (lambda: Policy(grace="x"), "grace='x'; give seconds"),  # type: ignore[arg-type]
    (lambda: BinaryExecutor("x", ["y"], policy={"timeout": 3}), "policy: {'timeout': 3}; give a Policy"),
    (lambda: BinaryExecutor("x", ["y"], outputs=["out"]), "outputs: 'out'"),
    (lambda: BinaryExecutor("x", ["y"], ["pipe"]), "communicators: 'pipe'"),  # type: ignore[list-item]
    (lambda: BinaryExecutor("x", ["y", 3]), "word 1 is 3"),  # type: ignore[list-item]
    (lambda: BinaryExecutor("x", ["y"]).add_tasklet(print, when="befor"), "when='befor'"),  # type: ignore[arg-type]
    (lambda: BinaryExecutor("x", ["y"]).add_tasklet(print, on_error="no"), "on_error='no'"),  # type: ignore[arg-type]
    (lambda: BinaryExecutor("x", ["y"]).add_tasklet("f"), "'f' is no function"),  # type: ignore[arg-type]
    (lambda: BinaryExecutor("x", ["y"]).add_hook("EXITED", "f"), "'f' is no function"),  # type: ignore[arg-type]
    (lambda: BinaryExecutor("x", ["y"]).add_tasklet(_cancelled), "coroutine function"),
    (lambda: run_managed("echo"), "'echo'; give a ManagedSpec"),  # type: ignore[arg-type]
    (lambda: MPIExecutor("x", "2", command=["y"]), "ranks='2'"),  # type: ignore[arg-type]
    (lambda: MPIExecutor("x", 2), "give a command, or write module:name"),
])  # fmt: skip
def test_a_wrong_declaration_is_refused_where_it_is_made(declare: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        declare()


def test_declaring_does_no_io_and_shares_nothing() -> None:
    before = set(os.listdir("/proc/self/fd"))  # of which other tests' threads may close some
    executors = [Executor(jobs.add), BinaryExecutor("x", ["true"])]
    assert before.issuperset(os.listdir("/proc/self/fd"))
    executors[0].update_environment({"X": "1"})
    assert executors[1]._environment.resolve({}).variables == {}
    with pytest.raises(ConfigError, match="list of words"):
        BinaryExecutor("x", "rm -rf /")
    assert executors[1].execute_task().record.communicators == [str(PipeCommunicator())]


def test_a_timeout_ends_it() -> None:
    found = bash("sleep 1000", policy=Policy(timeout=0.2))
    assert (found.status, found.reason, found.signal) == (TaskStatus.TIMEDOUT, "Timeout", 15)
