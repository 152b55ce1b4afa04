"""Runs of `blockyard run` where no interchange runs: looked at meanwhile, and afterwards."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from blockyard.cli import kept, rim
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
    for order in (["suspend", "kept"], ["resume", "kept"]):
        assert rim.run(order) == Exit.FOUND_FAULTS
        assert "run 'kept' has ended: Failed; 'blockyard retry FILE'" in capsys.readouterr().err


PRINTS = """
apiVersion: blockyard.dev/v1alpha1
kind: WorkflowRun
metadata: {name: prints}
spec:
  steps:
    - {name: says, binary: [echo, hello]}
    - {name: fails, source: "def main():\\n  print('before')\\n  raise ValueError('no')"}
    - {name: silent, binary: ["true"]}
    - name: many
      source: "def main(i):\\n  print('item', i)\\n  assert i != 2, 'no two'"
      arguments: {i: "${{ item }}"}
      sweep: {range: 3}
"""


def test_what_it_printed_and_how_it_ended_is_known_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prints.yaml"
    path.write_text(PRINTS)

    def printed(step: str) -> str:
        capsys.readouterr()
        assert rim.run(["logs", "prints", step]) == Exit.DONE
        return capsys.readouterr().out

    assert rim.run(["run", str(path), "--workers", "1"]) == Exit.FOUND_FAULTS
    assert "(many[2]) ended first: AssertionError: no two" in capsys.readouterr().out, "which item it was"
    assert printed("says") == "hello\n"
    assert "before" in printed("fails")
    assert "nothing is kept" in printed("silent")
    assert "item 2" in printed("many"), "of a sweep that of the part with which it failed"
    assert rim.run(["runs", "-o", "json"]) == Exit.DONE
    (line,) = msgspec.json.decode(capsys.readouterr().out)["runs"]
    assert (line["run"], line["phase"], line["counts"]) == ("prints", "Failed", {"Failed": 2, "Succeeded": 2})
    assert rim.run(["retry", str(path)]) == Exit.FOUND_FAULTS
    assert printed("says") == "hello\n", "what did not run again has printed what it had"
    path.write_text(PRINTS.replace("hello", "hi"))
    assert rim.run(["run", str(path), "--workers", "1", "--again"]) == Exit.FOUND_FAULTS
    assert printed("says") == "hi\n"


def test_its_history_is_kept_when_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "prints.yaml"
    path.write_text(PRINTS)
    assert rim.run(["run", str(path), "--workers", "1"]) == Exit.FOUND_FAULTS
    capsys.readouterr()
    assert rim.run(["report", "prints"]) == Exit.USAGE
    assert "run 'prints' kept no history; begin it with 'blockyard run --monitoring'" in capsys.readouterr().err
    assert rim.run(["run", str(path), "--workers", "1", "--again", "--monitoring"]) == Exit.FOUND_FAULTS
    capsys.readouterr()
    assert rim.run(["config", "prints", "says", "-o", "json"]) == Exit.DONE
    assert msgspec.json.decode(capsys.readouterr().out)["command"] == ["echo", "hello"]
    assert rim.run(["artefacts", "prints"]) == Exit.DONE
    assert rim.run(["report", "prints"]) == Exit.DONE
    assert rim.run(["retry", str(path)]) == Exit.FOUND_FAULTS
    assert rim.run(["run", str(path), "--monitoring", "-p", str(tmp_path)]) == Exit.USAGE, "no interchange is there"


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rim.run(["runs"]) == Exit.NO_ANSWER
    assert "'blockyard local up' starts one" in capsys.readouterr().err
    path = tmp_path / "one.yaml"
    path.write_text(FLOW.format(tmp_path))
    (tmp_path / "go").touch()
    assert rim.run(["run", str(path), "--workers", "1"]) == Exit.FOUND_FAULTS
    wide = FLOW.format(tmp_path).replace("name: waits", "resources: {cpu: 1000}, name: waits")
    (tmp_path / "wide.yaml").write_text(wide)
    assert rim.run(["run", str(tmp_path / "wide.yaml"), "--workers", "1", "--name", "refused"]) == Exit.FOUND_FAULTS
    assert rim.run(["retry", str(path), "--name", "gone"]) == Exit.FOUND_FAULTS
    assert kept.names() == ["kept"], "of runs that never began there is nothing"
    capsys.readouterr()
    assert rim.run(["runs", "--limit", "1"]) == Exit.DONE
    assert re.search(r"^kept +Failed ", capsys.readouterr().out, re.MULTILINE)
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


@pytest.mark.parametrize("number, code", [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)])
def test_a_signal_ends_it_in_good_order_and_it_is_kept(
    number: int, code: Exit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kept.yaml"
    path.write_text(FLOW.format(tmp_path))
    command = [sys.executable, "-c", "from blockyard.cli import main; main()", "run", str(path), "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_until("its step runs", (tmp_path / "begun").exists, bool)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "run 'kept' is kept: run it again to go on with it" in said
    assert "Traceback" not in said
    assert states(capsys)["ends"] == "Waiting"


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
