"""Steps of MPI over the managers of one block: by the command line, and what is left when one of them ends midway."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard import Client
from blockyard.cli import rim
from blockyard.cli.exits import Exit
from blockyard.workflow.programs import ProgramResult
from tests.integration.managed.test_attacks import alive, wait_until_gone
from tests.integration.processes import WITHIN, House, kill, wait_until
from tests.integration.questions import block_of_two_managers

pytestmark = [pytest.mark.needs_mpi, pytest.mark.timeout(300)]

MARK = f"step-{os.getpid()}"
"""In the environment of all that a test starts: another run of the tests may go on beside this one."""
WHO = "$OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE"
ABOVE = "$(tr '\\0' '\\n' < /proc/$PPID/environ | grep -a ^BLOCKYARD_PART=)"
"""Of the daemon that has started the rank: which part of the task that one is of."""


def step(name: str, script: str, *words: str, **others: Any) -> dict[str, Any]:
    mpi = {"ranks": 4, "nodes": 2, "command": ["bash", "-c", script, *words]}
    return {"name": name, "mpi": mpi, "resources": {"cpu": "100m"}, **others}


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of a user who never used Blockyard; a short one: paths of sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="by-") as folder:
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, str(Path(folder, name[4])))
        yield Path(folder)


def test_a_file_with_steps_over_two_managers_runs_by_the_command_line(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their ranks share the step's folder, rank 0 declares outputs, and each item of a sweep takes both managers."""
    say = f"echo {WHO} {ABOVE} > rank$OMPI_COMM_WORLD_RANK"
    wait = 'until [ "$(cat rank* | wc -l)" = "$OMPI_COMM_WORLD_SIZE" ]; do sleep 0.05; done'
    tell = 'echo "{\\"said\\": \\"$(cat rank* | sort | tr "\\n" ";")\\"}" > $BLOCKYARD_OUTPUTS'
    steps = [
        step("wide", f'{say}; [ "$OMPI_COMM_WORLD_RANK" != 0 ] || {{ {wait}; {tell}; }}', outputs=["said"]),
        step("each", "echo $0", "${{ item }} ${{ steps.wide.outputs.said }}", sweep={"list": ["a", "b"]}),
        {"name": "look", "source": "def main(found): return [one.stdout for one in found]",
         "arguments": {"found": "${{ steps.each.result }}"}},
        {"name": "count", "source": "def main(said): return {'count': len(said)}", "outputs": ["count"],
         "arguments": {"said": "${{ steps.look.result }}"}},
    ]  # fmt: skip
    document = {"apiVersion": "blockyard.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": "ranks"},
                "spec": {"steps": steps}}  # fmt: skip
    path = home / "flow.json"
    path.write_bytes(msgspec.json.encode(document))
    assert rim.run(["run", str(path), "--workers", "2", "-o", "json"]) == Exit.DONE
    view = msgspec.json.decode(capsys.readouterr().out)
    outputs = {one["step"]: one["outputs"] for one in view["steps"]}
    said = "".join(f"{rank} of 4 BLOCKYARD_PART={part};" for rank, part in enumerate((0, 0, 1, 1)))
    assert outputs["wide"] == {"said": said}
    assert outputs["count"] == {"count": 2}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("steps") / "state")


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[Client]:
    """A block of two managers, which is lost as a whole and made anew."""
    with block_of_two_managers(house, workers=1) as one:
        yield one


def test_a_step_whose_second_manager_is_killed_runs_again_on_another_block(
    client: Client, house: House, tmp_path: Path
) -> None:
    script = f"[ ! -e {tmp_path}/again ] || exec echo again; touch {tmp_path}/$OMPI_COMM_WORLD_RANK; exec sleep 1000"
    run = client.run({"steps": [step("wide", script, environment={"MARK": f"{MARK}-killed"})]}, name="killed")
    wait_until("all ranks run", lambda: sorted(one.name for one in tmp_path.iterdir()), lambda seen: len(seen) == 4)
    (tmp_path / "again").touch()
    before = {one.pid for one in house.managers()}
    (second,) = [one for one in house.managers() if one.marks.get("BLOCKYARD_NODE_INDEX") == "1"]
    asleep = [pid for pid in alive(f"{MARK}-killed") if Path(f"/proc/{pid}/comm").read_text() == "sleep\n"]
    assert len(asleep) == 4
    assert kill(second)
    found = run.succeed(2 * WITHIN).result("wide", WITHIN)
    assert isinstance(found, ProgramResult)
    assert (found.code, found.stdout) == (0, "again\n" * 4)
    assert not before & {one.pid for one in house.managers()}
    wait_until_gone(f"{MARK}-killed")


def test_a_rank_that_fails_on_the_second_manager_fails_the_step_with_what_it_said(client: Client) -> None:
    script = '[ "$OMPI_COMM_WORLD_RANK" != 3 ] || { echo so it is >&2; exit 5; }; exec sleep 1000'
    run = client.run({"steps": [step("wide", script, environment={"MARK": f"{MARK}-failed"})]}, name="failed")
    assert run.wait(WITHIN) == "Failed"
    (failed,) = run.status(states=("Failed",)).steps
    assert "exit code 5" in failed.message
    assert "so it is" in failed.message
    wait_until_gone(f"{MARK}-failed")


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
def test_a_step_that_is_ended_midway_leaves_nothing_on_either(client: Client, tmp_path: Path, how: str) -> None:
    mark = f"{MARK}-{how.replace(' ', '-')}"
    script = f"touch {tmp_path}/$OMPI_COMM_WORLD_RANK; exec sleep 1000"
    limit = {"timeout": "5s"} if how == "timed out" else {}
    run = client.run({"steps": [step("wide", script, environment={"MARK": mark}, **limit)]}, name=mark)
    if how == "cancelled":
        wait_until("all ranks run", lambda: len(list(tmp_path.iterdir())), lambda count: count == 4)
        run.cancel()
    assert run.wait(WITHIN) == {"cancelled": "Cancelled", "timed out": "Failed"}[how]
    wait_until_gone(mark)
