"""How often a run is looked at while it is waited for: it is asked about more often the nearer its end is."""

import time
from pathlib import Path
from typing import Any

import pytest

from blockyard.errors import ConfigError
from blockyard.wire import hosted
from blockyard.workflow.files import Invalid
from blockyard.workflow.running import WorkflowRun, checked, next_pause, of


@pytest.mark.parametrize(
    "pause, ended, left, seconds, comes_to",
    [
        (0.1, 100, 200, 0.2, 0.32),  # at this rate 0.4 s are left
        (0.1, 100, 10, 0.1, 0.008),
        (0.1, 100, 0, 0.1, 0.005),
        (0.1, 1, 100_000, 0.1, 2.0),
        (0.1, 99_000, 100_000, 0.01, 0.2),  # a look at so many steps costs something
        (0.1, 0, 5, 0.1, 0.105),
        (0.1, -5, 5, 0.1, 0.105),  # the first look: nothing to compare with
        (0.02, -100_000, 100_000, 0.1, 0.2),
        (0.5, 0, 5, 0.5, 0.5),
    ],
)
def test_most_of_what_is_left_is_waited_or_longer_each_time(
    pause: float, ended: int, left: int, seconds: float, comes_to: float
) -> None:
    assert next_pause(pause, ended, left, seconds) == pytest.approx(comes_to)


def test_a_template_is_of_a_file_or_a_cluster() -> None:
    with pytest.raises(Invalid, match="there is no template 't'; there are none"):
        checked({"templateRef": {"name": "t"}}, "r", None)


class Ended:
    """An engine whose runs have ended."""

    def ask(self, *_: object) -> Any:
        line = hosted.RunLine("r", "Succeeded", 0.0, 1.0, {}, 1, False, 0)
        return hosted.RunIs(line, [])


@pytest.mark.parametrize("begun, timeout, first", [(100_000, None, 0.2), (100_000, 0.1, 0.1), (0, None, 0.0)])
def test_a_run_that_was_just_started_is_looked_at_when_some_of_it_may_have_ended(
    monkeypatch: pytest.MonkeyPatch, begun: int, timeout: float | None, first: float
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    run = WorkflowRun(Ended(), "r", begun=begun)  # type: ignore[arg-type]  # it is only asked
    assert (run.wait(timeout), run.wait(timeout)) == ("Succeeded", "Succeeded")
    assert slept == [pytest.approx(first), 0.0]


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
