"""How a run is waited for."""

import time
from pathlib import Path
from typing import Any

import pytest

from blockyard.errors import ConfigError
from blockyard.wire import hosted
from blockyard.workflow.files import Invalid
from blockyard.workflow.running import WorkflowRun, checked, next_look, of


def test_a_template_is_of_a_file_or_a_cluster() -> None:
    with pytest.raises(Invalid, match="there is no template 't'; there are none"):
        checked({"templateRef": {"name": "t"}}, "r", None)


class Engine:
    """One whose run ends at a moment, in virtual time; its answers wait for that, as they were asked to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends_at: float) -> None:
        self.now, self.ends_at = 100.0, 100.0 + ends_at
        self.asked: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def ask(self, question: hosted.Run, _: object, timeout: float) -> Any:
        assert timeout > question.patience
        self.asked.append(question.patience)
        self.now = min(self.now + question.patience, max(self.now, self.ends_at))
        phase, counts = ("Succeeded", {}) if self.now >= self.ends_at else ("Running", {"Queued": 5})
        return hosted.RunIs(hosted.RunLine("r", phase, 0.0, 1.0, counts, 1, False, 0), [])


def test_a_run_is_waited_for_by_one_question_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(monkeypatch, ends_at=70.0)
    assert WorkflowRun(engine, "r").wait() == "Succeeded"  # type: ignore[arg-type]  # it is only asked
    assert engine.asked == [30.0, 30.0, 30.0]
    assert engine.now == engine.ends_at


def test_who_looks_sees_it_at_once_and_then_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, seen = Engine(monkeypatch, ends_at=0.6), []
    WorkflowRun(engine, "r").wait(on_look=lambda one: seen.append(one.line.phase))  # type: ignore[arg-type]  # as above
    assert engine.asked == [0.0, 0.25, 0.25, 0.25]
    assert seen == ["Running", "Running", "Running", "Succeeded"]


def test_who_does_not_wait_for_ever_is_told_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(monkeypatch, ends_at=70.0)
    with pytest.raises(TimeoutError, match=r"run 'r' is Running after 40 s: 5 Queued"):
        WorkflowRun(engine, "r").wait(40.0)  # type: ignore[arg-type]  # as above
    assert engine.asked == [30.0, pytest.approx(10.0), 0.0]


def test_steps_that_are_open_make_looks_rarer() -> None:
    line = hosted.RunLine("r", "Running", 0.0, 0.0, {"Waiting": 99_000, "Running": 1_000, "Succeeded": 7}, 1)
    assert next_look(line) == pytest.approx(2.0)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_one_as_a_text_too(tmp_path: Path, kind: type[str] | type[Path]) -> None:
    path = tmp_path / "one.json"
    path.write_text(
        '{"apiVersion": "blockyard.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": "one"},'
        ' "spec": {"steps": [{"name": "a", "binary": ["true"]}]}}'
    )
    spec, name = of(kind(path))
    assert (name, checked(spec, name, None).steps[0].binary) == ("one", ["true"])
    with pytest.raises(ConfigError, match=r"gone\.yaml: "):
        of(kind(tmp_path / "gone.yaml"))


@pytest.mark.parametrize("value", [None, 5, [{"name": "a", "binary": ["true"]}]])
def test_what_is_no_workflow_is_said_so(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"run: a .* is no workflow; give a Workflow, the path of a file, or a spec"):
        of(value)
