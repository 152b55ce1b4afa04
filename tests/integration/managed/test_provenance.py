"""What managed tasks ran with is in the history from their start on, and is completed, or shows that they were lost."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.ids import TaskId, task_name
from blockyard.managed import run_managed
from tests import repositories
from tests.integration.processes import WITHIN, House, kill, wait_until

pytestmark = pytest.mark.timeout(300)

BLOCKYARD = str(Path(sys.executable).with_name("blockyard"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("provenance") / "state")


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[Client]:
    with Client.local(workers=1, folder=house.folder, run="nightly", monitoring=url(house)) as client:
        yield client


def url(house: House) -> str:
    return f"sqlite:///{house.folder}/history.db"


def asked(house: House, columns: str, step: str) -> list[tuple[Any, ...]]:
    """Rows of the view; none while there is no table yet."""
    path = house.folder / "history.db"
    if not path.exists():
        return []
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'config'").fetchone():
            return []
        return connection.execute(f"SELECT {columns} FROM config WHERE step = ?", (step,)).fetchall()


def command_line(house: House, *words: str) -> str:
    """What a command prints."""
    done = subprocess.run([BLOCKYARD, *words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_record_is_there_at_the_start_and_runs_the_task_again(client: Client, house: House, tmp_path: Path) -> None:
    script = f"echo $MODE >{tmp_path}/mode; until [ -e {tmp_path}/go ]; do sleep 0.05; done; exit 3"
    spec = {
        "binary": ["bash", "-c", script], "step": "index", "environment": {"MODE": "fast", "A_TOKEN": "hunter2hunter2"},
        "fill": False,
    }  # fmt: skip
    future = client.submit(run_managed, spec)
    try:
        begun = wait_until(
            "the start is told, and of which run it is: the worker tells the one, the interchange the other",
            lambda: asked(house, "status, run_id, task_id, record", "index"),
            lambda rows: bool(rows) and rows[0][1],
        )
    finally:  # or else the one worker is held, and the next test waits for it
        (tmp_path / "go").touch()
    ((status, run, task, body),) = begun
    record = json.loads(body)
    assert (status, run, record["command"]) == ("RUNNING", "nightly", ["bash", "-c", script])
    assert record["environment"]["MODE"] == "fast"
    assert record["block"]
    assert record["host"]
    assert "hunter2" not in body

    ended = future.result(WITHIN)
    found = wait_until(
        "the end is told",
        lambda: asked(house, "status, exit_code, record", "index"),
        lambda rows: bool(rows) and rows[0][0] != "RUNNING",
    )
    ((status, code, body),) = found
    assert (status, code, json.loads(body)["id"]) == ("FAILED", 3, ended.record.id)
    assert json.loads(body)["usage"]

    again = tmp_path / "again.yaml"
    again.write_text(command_line(house, "config", "nightly", "index", "--database", url(house)))
    assert again.read_text() == command_line(house, "config", task, "--database", url(house))
    (tmp_path / "mode").unlink()
    words = [BLOCKYARD, "task", "run", "-c", str(again)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert "exit code 3" in done.stderr
    assert (tmp_path / "mode").read_text() == "fast\n"


def test_a_task_that_went_with_its_worker_is_lost_and_the_next_try_is_another_record(
    client: Client, house: House, tmp_path: Path
) -> None:
    script = f"[ -e {tmp_path}/once ] && exit 0; touch {tmp_path}/once; sleep 1000"
    future = client.submit(run_managed, {"binary": ["bash", "-c", script], "step": "lost"})
    wait_until("it runs", lambda: asked(house, "status", "lost"), bool)
    wait_until("it has begun", (tmp_path / "once").exists, bool)
    (manager,) = house.managers()
    kill(manager)
    assert future.result(WITHIN).status.name == "COMPLETED"
    found = wait_until(
        "both tries are told",
        lambda: sorted(asked(house, "status, try_id", "lost")),
        lambda rows: [row[0] for row in rows] == ["COMPLETED", "LOST"],
    )
    assert found[0][1] > found[1][1]
    assert ("NoEnd", 1) in asked(house, "reason, message <> ''", "lost")
    assert "COMPLETED" in command_line(house, "config", "nightly", "lost", "--database", url(house)), "of the last try"


def test_a_program_on_a_worker_has_its_own_grace_and_its_record_an_end(
    client: Client, house: House, tmp_path: Path
) -> None:
    """It takes longer than a plain function is given."""
    script = f"trap 'sleep 3; touch {tmp_path}/saved; exit 0' TERM; touch {tmp_path}/begun; sleep 1000 & wait"
    spec = {"binary": ["bash", "-c", script], "fill": False, "grace": 30, "step": "graced"}
    future = client.submit(run_managed, spec)
    wait_until("it runs", (tmp_path / "begun").exists, bool)
    assert future.cancel()
    wait_until("it has saved", (tmp_path / "saved").exists, bool)
    wait_until("it is told", lambda: asked(house, "status", "graced"), lambda rows: rows == [("CANCELLED",)])


def test_one_that_is_cancelled_while_its_environment_is_made_has_a_record(
    client: Client, house: House, tmp_path: Path
) -> None:
    (tmp_path / "setup.sh").write_text(f"touch {tmp_path}/begun; sleep 1000")
    spec = {"binary": ["true"], "source": [str(tmp_path / "setup.sh")], "step": "sourced"}
    future = client.submit(run_managed, spec)
    wait_until("it is sourced", (tmp_path / "begun").exists, bool)
    assert future.cancel()
    wait_until("it is told", lambda: asked(house, "status", "sourced"), lambda rows: rows == [("CANCELLED",)])


def test_how_far_a_program_is_is_told_while_it_runs_and_stays_in_its_record(
    client: Client, house: House, tmp_path: Path
) -> None:
    script = f"""
      out=${{BLOCKYARD_CHANNEL#pipe:}}; out=${{out%,*}}
      say() {{ echo '{{"signal":"TASK_PROGRESS","contents":{{"fraction":'$1',"message":"of the frames"}}}}' >&$out; }}
      say 0.1; say 0.5; until [ -e {tmp_path}/go ]; do sleep 0.02; done
      for number in {{1..9}}; do say 0.7$number; done
    """
    future = client.submit(run_managed, {"binary": ["bash", "-c", script], "step": "far"})
    try:
        wait_until(
            "it is told", lambda: asked(house, "status, message, record <> ''", "far"),
            lambda rows: rows == [("RUNNING", "50 %: of the frames", 1)],
        )  # fmt: skip
        shown = command_line(house, "task", task_name(TaskId(future.task)), "-p", str(house.folder))
        assert "Its program 'bash' is RUNNING: 50 %: of the frames\n" in shown
    finally:
        (tmp_path / "go").touch()
    record = future.result(WITHIN).record
    assert (record.status, record.progress.fraction, record.progress.message) == ("COMPLETED", 0.79, "of the frames")


def test_a_steps_program_runs_again_from_what_its_record_gives(client: Client, house: House, tmp_path: Path) -> None:
    """The folder that it worked in went with the step."""
    words = ["sh", "-c", 'echo "{\\"n\\": 7}" > $BLOCKYARD_OUTPUTS']
    run = client.run({"steps": [{"name": "writes", "binary": words, "outputs": ["n"]}]}, name="writes").succeed(WITHIN)
    assert run.outputs() == {"writes": {"n": 7}}
    wait_until("its end is told", lambda: asked(house, "status", "writes"), lambda rows: rows == [("COMPLETED",)])
    again = tmp_path / "again.yaml"
    again.write_text(command_line(house, "config", "writes", "writes", "--database", url(house)))
    words = [BLOCKYARD, "task", "run", "-c", str(again)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "outputs.json").read_text()) == {"n": 7}


@pytest.mark.parametrize("kind", ["binary", pytest.param("mpi", marks=pytest.mark.needs_mpi)])
def test_a_steps_program_is_recorded_with_commit_and_changes_of_its_code(
    kind: str, client: Client, house: House, tmp_path: Path
) -> None:
    """The program is in no repository, and the step works in a folder of its own; the script that it runs is in one."""
    script = tmp_path / "look.sh"
    sha = repositories.make(script)
    words = ["sh", str(script)]
    what: dict[str, Any] = {"binary": words} if kind == "binary" else {"mpi": {"command": words, "ranks": 1}}
    client.run({"steps": [{"name": kind, **what}]}, name=f"code-{kind}").succeed(WITHIN)
    rows = wait_until("its record is told", lambda: asked(house, "record", kind), bool)
    code = json.loads(rows[0][0])["code"]
    assert (code["folder"], code["git_sha"]) == (str(tmp_path), sha)
    assert "-echo one\n+echo two\n" in code["git_diff"]
