"""``blockyard task run|help|list`` with a registered task and a file of two documents."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import pytest

from blockyard.cli import rim
from blockyard.cli.exits import Exit
from blockyard.managed import Argument, BaseExecutor, BinaryExecutor, TaskSkipped, register
from blockyard.managed.models import BinaryParameters
from tests.integration.processes import wait_until


class Greet(BinaryParameters):
    """What ``printf`` is given."""

    executable: str = "printf"
    form: Annotated[str, Argument(kind="positional", description="printf's own")] = "%s %s"
    words: Annotated[list[str], Argument(kind="positional")]


register("test-greet", BinaryExecutor, parameters=Greet, description="Print some words.")

FILE = """
title: Test
run: 7
work_dir: {folder}
---
test-greet:
  words: ["{{{{ title }}}}", "run {{{{ run:03d }}}}"]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(FILE.format(folder=tmp_path))
    return str(path)


def test_a_task_is_run_with_its_section(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rim.run(["task", "run", "test-greet", "-c", file, "-o", "json"]) == Exit.DONE
    found = json.loads(capsys.readouterr().out.partition("run 007")[2])
    assert (found["stdout"], found["record"]["run"]) == ("Test run 007", "7")
    assert found["record"]["parameters"]["words"] == ["Test", "run 007"]


def test_a_parameter_may_be_given_by_hand(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rim.run(["task", "run", "test-greet", "-c", file, "--set", 'words=["a", "b"]', "--set", "form=%s-%s "]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("a-b test-greet: COMPLETED")


def _skip() -> None:
    raise TaskSkipped("no hits in run 7")


def test_a_task_that_is_skipped_is_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    def configure(made: BaseExecutor) -> None:
        made.add_tasklet(_skip, when="before")

    register("test-skips", BinaryExecutor, command=["false"], configure=configure)
    assert rim.run(["task", "run", "test-skips"]) == Exit.DONE
    assert "test-skips: SKIPPED (TaskSkipped): no hits in run 7" in capsys.readouterr().out


@pytest.mark.parametrize("words, code, sentence", [
    (["run", "test-great"], Exit.NOT_FOUND, "did you mean 'test-greet'"),
    (["run", "no_such_module:x"], Exit.NOT_FOUND, "no_such_module does not import"),
    (["run", "test-greet"], Exit.USAGE, "words: it is not given"),
    (["run", "test-greet", "--set", "words"], Exit.USAGE, "write NAME=VALUE"),
    (["run", "test-greet", "-c", "/nonexistent.yaml"], Exit.USAGE, "/nonexistent.yaml"),
    (["run", "test-greet", "--set", "words=[]", "--set", 'executable="false"'], Exit.FOUND_FAULTS, "FAILED (ExitCode)"),
    (["help", "test-great"], Exit.NOT_FOUND, "did you mean 'test-greet'"),
])  # fmt: skip
def test_what_can_not_be_done_is_said(
    words: list[str], code: Exit, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rim.run(["task", *words]) == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("sections, sentence", [
    ("test-hallo: {words: [a]}", "no section 'test-hello'; did you mean 'test-hallo'?"),
    ("test-hello: {words: [a]}\ntest-imported: {lenght: 1}", "lenght: there is no such parameter; did you mean"),
])  # fmt: skip
def test_sections_are_looked_at_all_together(
    sections: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = """
        from blockyard.managed import BinaryExecutor, register
        from blockyard.managed.models import BinaryParameters, TaskParameters
        class Imported(TaskParameters):
            length: int = 1
        register("test-imported", command=["true"], parameters=Imported)
        class Greet(BinaryParameters):
            words: list[str]
        register("test-hello", command=["true"], parameters=Greet)
    """
    (tmp_path / "registers_two.py").write_text(textwrap.dedent(module))
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(f"run: 1\n---\n{sections}\n")
    assert rim.run(["task", "run", "registers_two:test-hello", "-c", str(path)]) == Exit.USAGE
    assert sentence in capsys.readouterr().err


def test_help_lists_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert rim.run(["task", "help", "test-greet"]) == Exit.DONE
    shown = capsys.readouterr().out
    assert "test-greet (BinaryExecutor): Print some words." in shown
    assert "printf's own" in shown
    assert "list[str]" in shown
    assert "required" in shown
    assert rim.run(["task", "list"]) == Exit.DONE
    assert "test-greet" in capsys.readouterr().out


def test_help_of_a_function_without_a_model_lists_its_own_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert rim.run(["task", "help", "tests.integration.managed.jobs:test-add"]) == Exit.DONE
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[2:] == [["a", "int", "required"], ["b", "int", "1"]]


@pytest.mark.parametrize("number, code", [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)])
def test_a_signal_ends_the_program_with_its_grace_and_the_record_says_so(
    number: int, code: Exit, tmp_path: Path
) -> None:
    script = f"trap 'echo ended >{tmp_path}/ended; exit' TERM; touch {tmp_path}/runs; sleep 1000 & wait"
    (tmp_path / "spec.yaml").write_text(json.dumps({"binary": ["bash", "-c", script], "folder": str(tmp_path)}))
    program = "from blockyard.cli import main; main()"
    command = [sys.executable, "-c", program, "task", "run", "-c", str(tmp_path / "spec.yaml")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_until("the program runs", (tmp_path / "runs").exists, bool)
        process.send_signal(number)
        assert process.wait(30) == code
    assert (tmp_path / "ended").read_text() == "ended\n"
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "CANCELLED"
