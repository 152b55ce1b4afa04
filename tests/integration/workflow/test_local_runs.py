"""Workflows on a real interchange of this machine: from files and from Python, through the command line, and again."""

from pathlib import Path

import msgspec
import pytest

from blockyard import Client
from blockyard.cli import rim
from blockyard.cli.exits import Exit
from blockyard.errors import BlockyardError
from blockyard.workflow.building import Workflow, each, item
from blockyard.workflow.files import Invalid
from blockyard.workflow.running import RunFailed
from tests.integration.processes import wait_until
from tests.machine import ROOT

EXAMPLES = ROOT / "examples" / "workflows"


def numbers(n: int) -> dict[str, object]:
    return {"numbers": list(range(n)), "count": n}


def square(x: int) -> int:
    return x * x


def broken(marker: str) -> str:
    if not Path(marker).exists():
        raise ValueError("not yet")
    return "mended"


def after(value: object) -> object:
    return value


def both(left: object, right: object) -> list[object]:
    return [left, right]


def test_a_run_from_python_with_all_there_is(tmp_path: Path) -> None:
    flow = Workflow("all")
    first = flow.step(numbers, n=4, options={"outputs": ["count"]})
    squares = flow.step(square, x=item(), options={"sweep": each(first)})
    script = "echo $0; echo '{\"line\": \"'$0'\"}' > $BLOCKYARD_OUTPUTS"
    said = flow.step(["sh", "-c", script, first.output("count")], step="say", options={"outputs": ["line"]})
    flow.step(after, step="skipped", value=1, options={"when": "steps.numbers.outputs.count > 100"})
    flow.step(both, left=squares, right=said.output("line"), options={"when": "steps.say.outputs.line == '4'"})
    flow.step(broken, marker=str(tmp_path / "no"))
    flow.step(both, step="rest", left=1, right="${{ steps.broken.result }}", options={"trigger": "Always"})
    # a sweep over a mapping is refused by the step, with the reason
    flow.step(square, step="wrong", x=item(), options={"sweep": each(first)})
    with Client.local(workers=2) as client:
        run = client.run(flow)
        assert run.wait(60) == "Failed"
        states = {one.name: (one.state, one.message) for one in run.status().steps}
        assert "its sweep is over a dict, expected a list" in states["wrong"][1]
        assert states["skipped"] == ("Skipped", "it was skipped: its condition does not hold")
        assert states["broken"] == ("Failed", "ValueError: not yet")
        assert run.result("rest", 10) == [1, None]
        assert run.outputs() == {"numbers": {"count": 4}, "say": {"line": "4"}}
        with pytest.raises(RunFailed, match=r"wrong: .* expected a list"):
            run.succeed(10)


def test_a_run_whose_file_says_cancel_is_cancelled(tmp_path: Path) -> None:
    steps = [{"name": "a", "binary": ["sleep", "600"]}]
    exits = {"name": "tidy", "binary": ["touch", str(tmp_path / "tidied")]}
    with Client.local(workers=1) as client:
        run = client.run({"steps": steps, "onExit": exits, "cancel": True}, name="never")
        assert run.wait(60) == "Cancelled"
    assert (tmp_path / "tidied").exists()


def test_a_sweep_keeps_the_order_and_a_run_is_found_as_it_is(tmp_path: Path) -> None:
    flow = Workflow("squares")
    first = flow.step("builtins:list", step="none")
    flow.step(square, x=item(), options={"sweep": each(500), "needs": [first]})
    flow.step("builtins:sum", step="wrong-arguments", iterable="${{ steps.square.result }}")
    folder = tmp_path / "state"
    with Client.local(workers=2, folder=folder) as client:
        run = client.run(flow)
        assert run.wait(60) == "Failed"  # sum takes no argument by name
        assert run.result("square", 10) == [n * n for n in range(500)]
    with Client.local(workers=2, folder=folder) as client:
        again = client.run(flow)
        assert again.wait(10) == "Failed"
        assert again.result("square", 10) == [n * n for n in range(500)]
        with pytest.raises(BlockyardError, match="made from something else"):
            client.run({"steps": [{"name": "a", "function": "a:b"}]}, name="squares")


def test_what_is_wrong_is_said_before_anything_runs() -> None:
    with Client.local(workers=1) as client:
        with pytest.raises(Invalid) as refused:
            client.run({"steps": [{"name": "a", "function": "a:b", "needs": ["c"]}], "x": 1}, name="bad")
        assert [fault.path for fault in refused.value.faults] == ["spec.x"]
        with pytest.raises(Invalid, match="there is no step 'c'"):
            client.run({"steps": [{"name": "a", "function": "a:b", "needs": ["c"]}]}, name="bad")


@pytest.mark.parametrize(
    "name, wanted",
    [("grid", "slope=3.0"), ("triggers", "the fast way is closed today"), ("nightly", "count=669, largest=4999")],
)
def test_the_examples_run_by_the_command_line(name: str, wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(EXAMPLES / f"{name}.yaml")
    assert rim.run(["lint", path]) == Exit.DONE
    capsys.readouterr()
    assert rim.run(["run", path, "--workers", "2"]) == Exit.DONE
    shown = capsys.readouterr()
    assert wanted in shown.out
    assert f"run '{name}' Succeeded" in shown.out
    assert rim.run(["run", path, "--workers", "1", "-o", "json"]) == Exit.DONE, "found as it was"
    view = msgspec.json.decode(capsys.readouterr().out)
    assert view["run"]["phase"] == "Succeeded"


def test_a_failed_run_is_retried_on_what_succeeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "marker"
    counted = tmp_path / "counted"
    step = {"name": "once", "source": f"def main():\n    open({str(counted)!r}, 'a').write('x')\n    return 1\n"}
    broken = {
        "name": "broken",
        "source": f"import os\ndef main(n):\n    assert os.path.exists({str(marker)!r})\n    return n + 1\n",
        "arguments": {"n": "${{ steps.once.result }}"},
    }
    after = {
        "name": "after",
        "source": "def main(n): return {'n': n}",
        "arguments": {"n": "${{ steps.broken.result }}"},
    }
    after["outputs"] = ["n"]
    document = {
        "apiVersion": "blockyard.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": "retried"},
        "spec": {"steps": [step, broken, after]},
    }
    path = tmp_path / "flow.json"
    path.write_bytes(msgspec.json.encode(document))
    with Client.local(workers=1, folder=tmp_path / "state") as client:
        assert client.folder is not None
        profile = ["-p", str(client.folder)]
        assert rim.run(["run", str(path), *profile]) == Exit.FOUND_FAULTS
        assert "2 Failed" in capsys.readouterr().err
        marker.touch()
        assert rim.run(["retry", str(path), *profile]) == Exit.DONE
        capsys.readouterr()
        assert rim.run(["steps", "retried", *profile, "-o", "json"]) == Exit.DONE
        view = msgspec.json.decode(capsys.readouterr().out)
        assert {one["step"]: one["outputs"] for one in view["steps"]}["after"] == {"n": 2}
        assert counted.read_text() == "x"
        assert rim.run(["runs", *profile]) == Exit.DONE
        assert "retried" in capsys.readouterr().out
        assert rim.run(["steps", "nothing", *profile]) == Exit.NOT_FOUND


def test_a_suspended_runs_programs_are_stopped_and_go_on_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "echo $$ >pid && mv pid {0}/$0; until [ -e {0}/go ]; do sleep 0.02; done"
    step = {"name": "ticks", "binary": ["sh", "-c", script.format(tmp_path), "one"]}
    part = {"name": "part", "binary": ["sh", "-c", script.format(tmp_path), "${{ item }}"], "sweep": {"list": ["two"]}}

    def kernel() -> list[str]:
        pids = [(tmp_path / name).read_text().strip() for name in ("one", "two") if (tmp_path / name).exists()]
        return [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids]

    with Client.local(workers=2, folder=tmp_path / "state") as client:
        run = client.run({"steps": [step, part]}, name="held")
        wait_until("both run", kernel, lambda seen: len(seen) == 2)
        profile = ["-p", str(client.folder)]
        assert rim.run(["suspend", "held", "--running", *profile]) == Exit.DONE
        # "D": a shell that forked just then waits for its child, which is stopped before it has become another program.
        wait_until("both are stopped", kernel, lambda seen: set(seen) <= {"T", "D"})
        seen = wait_until("it is said", lambda: run.status().line, lambda line: line.stopped == 2)
        assert (seen.phase, seen.counts["Stopped"], seen.counts["Running"]) == ("Suspended", 1, 1)
        (tmp_path / "go").touch()
        assert rim.run(["resume", "held", *profile]) == Exit.DONE
        run.succeed(60)


def test_a_step_may_be_a_template_of_the_same_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nested.yaml"
    path.write_text("""
apiVersion: blockyard.dev/v1alpha1
kind: WorkflowTemplate
metadata: {name: scale}
spec:
  parameters: [{name: values, type: list}, {name: by, type: integer, default: 10}]
  steps:
    - name: each
      source: "def main(x, by): return x * by"
      arguments: {x: "${{ item }}", by: "${{ params.by }}"}
      sweep: {from: "${{ params.values }}"}
    - {name: total, source: "def main(values): return {'sum': sum(values)}", outputs: [sum],
       arguments: {values: "${{ steps.each.result }}"}}
---
apiVersion: blockyard.dev/v1alpha1
kind: WorkflowRun
metadata: {name: nested}
spec:
  steps:
    - {name: load, source: "def main(): return [1, 2]"}
    - {name: tens, template: scale, arguments: {values: "${{ steps.load.result }}"}}
    - {name: fives, template: scale, arguments: {values: [1, "${{ steps.tens.outputs.sum }}"], by: 5}}
    - {name: say, binary: [echo, "it is ${{ steps.fives.result.sum }}"], when: "steps.fives.outputs.sum > 100"}
""")
    assert rim.run(["lint", str(path)]) == Exit.DONE
    assert rim.run(["run", str(path), "--workers", "2", "-o", "json"]) == Exit.DONE
    view = msgspec.json.decode(capsys.readouterr().out.partition("order\n")[2])
    states = {one["step"]: one["state"] for one in view["steps"]}
    assert states == dict.fromkeys(("load", "tens-each", "tens-total", "fives-each", "fives-total", "say"), "Succeeded")
    outputs = {one["step"]: one["outputs"] for one in view["steps"] if one["outputs"]}
    assert outputs == {"tens-total": {"sum": 30}, "fives-total": {"sum": 155}}


def test_a_program_is_tried_again_by_cause(tmp_path: Path) -> None:
    def counting(name: str, end: str) -> list[str]:
        return ["sh", "-c", f"echo x >> {tmp_path}/{name}; {end}"]

    def step(name: str, end: str, *causes: str) -> dict[str, object]:
        return {"name": name, "binary": counting(name, end), "retry": {"limit": 1, "causes": list(causes)}}

    spec = {
        "steps": [
            step("code", "exit 75", "ExitCode75"),
            step("another", "exit 3", "ExitCode75"),
            step("killed", "kill -SEGV $$", "ExitCode", "SIGSEGV"),
        ]
    }
    with Client.local(workers=4) as client:
        run = client.run(spec, name="causes")
        assert run.wait(100) == "Failed", run.status()
    tries = {name: len((tmp_path / name).read_text().split()) for name in ("code", "another", "killed")}
    assert tries == {"code": 2, "another": 1, "killed": 2}


def test_a_managed_task_is_a_step_by_its_name() -> None:
    spec = {
        "steps": [
            {"name": "one", "source": "def main(): return 1"},
            {
                "name": "add",
                "task": "tests.integration.managed.jobs:test-add",
                "arguments": {"a": "${{ steps.one.result }}", "b": 41},
            },
            {"name": "fails", "binary": ["sh", "-c", "echo so it is >&2; exit 3"]},
        ]
    }
    with Client.local(workers=1) as client:
        run = client.run(spec, name="managed")
        assert run.wait(100) == "Failed"
        assert run.result("add", 10) == 42
        (failed,) = run.status(states=("Failed",)).steps
        assert failed.name == "fails"
        assert "so it is" in failed.message
