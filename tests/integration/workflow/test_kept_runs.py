"""Runs of `blockyard run` where no interchange runs: looked at meanwhile, and afterwards."""

import re
import threading
from pathlib import Path

import msgspec
import pytest

from blockyard.cli import rim
from blockyard.cli.exits import Exit
from blockyard.workflow.running import WorkflowRun
from tests.integration.processes import wait_until

FLOW = """
apiVersion: blockyard.dev/v1alpha1
kind: WorkflowRun
metadata: {{name: kept}}
spec:
  steps:
    - {{name: waits, binary: [sh, -c, "touch {0}/begun; until [ -e {0}/go ]; do sleep 0.02; done"]}}
    - {{name: ends, source: "def main(): raise ValueError('no')", needs: [waits]}}
"""


def states(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert rim.run(["steps", "kept", "-o", "json"]) == Exit.DONE
    view = msgspec.json.decode(capsys.readouterr().out)
    return {one["step"]: one["state"] for one in view["steps"]}


def test_it_is_found_by_its_name_while_it_goes_on_and_when_it_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kept.yaml"
    path.write_text(FLOW.format(tmp_path))
    going = threading.Thread(target=rim.run, args=(["run", str(path), "--workers", "1", "-o", "json"],))
    going.start()
    wait_until("its step runs", (tmp_path / "begun").exists, bool)
    assert states(capsys) == {"waits": "Running", "ends": "Waiting"}
    assert rim.run(["suspend", "kept"]) == rim.run(["resume", "kept"]) == Exit.DONE
    (tmp_path / "go").touch()
    going.join(60)
    assert not going.is_alive()
    assert states(capsys) == {"waits": "Succeeded", "ends": "Failed"}
    assert rim.run(["retry", str(path)]) == Exit.FOUND_FAULTS, "it fails again"
    assert "ValueError: no" in capsys.readouterr().out
    assert rim.run(["cancel", "--run", "kept"]) == Exit.DONE
    assert "0 tasks" in capsys.readouterr().out


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rim.run(["runs"]) == Exit.NO_ANSWER
    assert "'blockyard local up' starts one" in capsys.readouterr().err
    path = tmp_path / "one.yaml"
    path.write_text(FLOW.format(tmp_path))
    (tmp_path / "go").touch()
    assert rim.run(["run", str(path), "--workers", "1"]) == Exit.FOUND_FAULTS
    assert rim.run(["runs"]) == Exit.NO_ANSWER
    assert "'blockyard run' keeps kept: blockyard steps kept" in capsys.readouterr().err
    assert rim.run(["steps", "kpt"]) == Exit.NOT_FOUND
    assert "keeps no run 'kpt'; did you mean 'kept'?" in capsys.readouterr().err
    assert rim.run(["steps", "kept", "-p", "none"]) == Exit.USAGE, "a profile that was named"
    assert rim.run(["local", "up", "--workers", "1"]) == Exit.DONE
    try:
        assert rim.run(["steps", "kept"]) == Exit.DONE, "which the system that runs now does not know"
        assert rim.run(["steps", "kept", "-p", "local"]) == Exit.NOT_FOUND
    finally:
        assert rim.run(["local", "down"]) == Exit.DONE


def test_a_generated_name_is_made_up_and_no_name_leads_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(FLOW.format(tmp_path).replace("name: kept", "generateName: kept-"))
    (tmp_path / "go").touch()
    assert rim.run(["run", str(path), "--workers", "1", "-o", "json"]) == Exit.FOUND_FAULTS
    name = msgspec.json.decode(capsys.readouterr().out)["run"]["run"]
    assert re.fullmatch("kept-[0-9a-f]{6}", name)
    assert rim.run(["steps", name]) == Exit.DONE
    assert rim.run(["retry", str(path)]) == Exit.USAGE
    assert rim.run(["run", str(path), "--workers", "1", "--name", "../x"]) == Exit.USAGE
    assert "'../x' is no name for a run" in capsys.readouterr().err


def test_who_interrupts_a_wait_is_told_what_becomes_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kept.yaml"
    path.write_text(FLOW.format(tmp_path))

    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WorkflowRun, "wait", interrupted)
        assert rim.run(["run", str(path), "--workers", "1"]) == Exit.INTERRUPTED
    assert "run 'kept' is kept: run it again to go on with it" in capsys.readouterr().err
    (tmp_path / "go").touch()
    assert rim.run(["run", str(path), "--workers", "1"]) == Exit.FOUND_FAULTS
    assert "ValueError: no" in capsys.readouterr().out
