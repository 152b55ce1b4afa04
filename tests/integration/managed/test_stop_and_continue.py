"""A running managed task is stopped, goes on and is cancelled from outside, with all its processes."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import BlockyardError
from blockyard.ids import TaskId, task_name
from blockyard.managed import run_managed
from tests.integration.managed.test_attacks import alive, wait_until_gone
from tests.integration.managed.test_provenance import BLOCKYARD, asked, url
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import ending_what_runs

pytestmark = pytest.mark.timeout(300)

SCRIPT = """
echo $BASHPID >>{0}/pids
tick() {{ echo $BASHPID >>{0}/pids; until [ -e {0}/go ]; do echo x >>{0}/ticks; sleep 0.02; done; }}
(echo $BASHPID >>{0}/pids; (tick) & wait) &
wait
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("stop") / "state")


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[Client]:
    with Client.local(workers=1, folder=house.folder, run="stops", monitoring=url(house)) as one, ending_what_runs(one):
        yield one


def states(folder: Path) -> set[str]:
    """The kernel's letters for three generations of processes; nothing before all are there."""
    pids = (folder / "pids").read_text().split() if (folder / "pids").exists() else []
    if len(pids) < 3:
        return set()
    return {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids}


def test_all_of_it_stops_and_goes_on_by_the_future_and_by_the_command_line(
    client: Client, house: House, tmp_path: Path
) -> None:
    spec = {"binary": ["bash", "-c", SCRIPT.format(tmp_path)], "fill": False, "step": "held"}
    future = client.submit(run_managed, spec)
    waits = client.submit(time.sleep, 0.0)
    wait_until("three generations run", lambda: states(tmp_path), bool)
    with pytest.raises(BlockyardError, match="it waits"):
        waits.stop()
    name = task_name(TaskId(future.task))

    def command(word: str) -> str:
        words = [BLOCKYARD, "-p", str(house.folder), word, name]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for stop, go_on in ((future.stop, future.resume), (lambda: command("stop"), lambda: command("continue"))):
        stop()
        wait_until("all are stopped", lambda: states(tmp_path), lambda found: found == {"T"})
        wait_until("it is told", lambda: asked(house, "status", "held"), lambda found: found == [("STOPPED",)])
        (tmp_path / "ticks").unlink(missing_ok=True)
        go_on()
        wait_until("it goes on", (tmp_path / "ticks").exists, bool)
        wait_until("it is told", lambda: asked(house, "status", "held"), lambda found: found == [("RUNNING",)])
    (tmp_path / "go").touch()
    assert future.result(WITHIN).status.name == "COMPLETED"
    with pytest.raises(BlockyardError, match=r"it has ended|collected"):
        future.stop()


def test_what_is_stopped_can_be_cancelled(client: Client, tmp_path: Path) -> None:
    spec = {
        "binary": ["bash", "-c", SCRIPT.format(tmp_path)], "fill": False, "environment": {"MARK": "stopped"},
        "grace": 0.5,
    }  # fmt: skip
    future = client.submit(run_managed, spec)
    wait_until("it runs", lambda: states(tmp_path), bool)
    future.stop()
    wait_until("all are stopped", lambda: states(tmp_path), lambda found: found == {"T"})
    assert alive("stopped")
    assert future.cancel()
    wait_until_gone("stopped")
    assert client.submit(abs, -1).result(WITHIN) == 1


def test_on_threads_it_is_the_program_of_that_task_alone_which_stops(tmp_path: Path) -> None:
    spec = {"binary": ["bash", "-c", SCRIPT.format(tmp_path)], "fill": False, "echo": False}
    other = {**spec, "binary": ["bash", "-c", SCRIPT.format(tmp_path / "other")]}
    (tmp_path / "other").mkdir()
    with Client.threads(2) as client:
        future, beside = client.submit(run_managed, spec), client.submit(run_managed, other)
        waits = client.submit(abs, -1)
        wait_until("both run", lambda: states(tmp_path) and states(tmp_path / "other"), bool)
        with pytest.raises(BlockyardError, match="only what runs can be stopped"):
            waits.stop()
        future.stop()
        wait_until("all are stopped", lambda: states(tmp_path), lambda found: found == {"T"})
        assert "T" not in states(tmp_path / "other")
        future.resume()
        for folder in (tmp_path, tmp_path / "other"):
            (folder / "go").touch()
        assert [one.result(WITHIN).status.name for one in (future, beside)] == ["COMPLETED", "COMPLETED"]
        with pytest.raises(BlockyardError, match="it has ended"):
            future.stop()
        plain = client.submit(wait_for, str(tmp_path / "plain"))
        wait_until("it runs", (tmp_path / "plain.begun").exists, bool)
        with pytest.raises(BlockyardError, match="runs no managed task"):
            plain.stop()
        (tmp_path / "plain").touch()


def test_a_plain_function_is_refused_with_the_reason(client: Client, tmp_path: Path) -> None:
    future = client.submit(wait_for, str(tmp_path / "go"))
    wait_until("it runs", (tmp_path / "go.begun").exists, bool)
    with pytest.raises(BlockyardError, match="no managed task"):
        future.stop()
    (tmp_path / "go").touch()
    assert future.result(WITHIN)


def wait_for(path: str) -> bool:
    """A plain function that lasts until there is a file."""
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        time.sleep(0.02)
    return True
