"""Managed tasks inside submitted tasks: started by a warm worker, ended with the task that runs them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.managed import Executor, ManagedResult, TaskStatus, run_managed
from tests.integration.managed.test_attacks import alive, wait_until_gone
from tests.integration.processes import WITHIN, House, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One worker, so that each task finds it as the one before left it."""
    house = House(tmp_path_factory.mktemp("managed") / "state")
    with Client.local(workers=1, folder=house.folder) as client:
        yield client
    house.wait_until_empty()


def closure(times: int) -> ManagedResult:
    """A function without a name to be imported by."""
    return Executor(lambda: "x" * times, name="closure").execute_task()


def test_a_worker_runs_functions_and_programs(client: Client) -> None:
    assert client.submit(closure, 3).result(WITHIN).payload == "xxx"
    future = client.submit(run_managed, {"binary": ["bash", "-c", "echo out; echo err >&2"], "step": "s"})
    found = future.result(WITHIN)
    assert (found.status, found.record.step, found.stdout, found.stderr) == (
        TaskStatus.COMPLETED, "s", "out\n", "err\n",
    )  # fmt: skip
    assert found.record.block
    assert sorted(future.output().split()) == ["err", "out"]
    assert client.submit(abs, -1).result(WITHIN) == 1


def test_a_cancelled_task_takes_its_program_with_it(client: Client, tmp_path: Path) -> None:
    script = f"trap 'echo ended >{tmp_path}/ended; exit' TERM; touch {tmp_path}/there; sleep 1000 & wait"
    spec = {"binary": ["bash", "-c", script], "environment": {"MARK": "on-a-worker"}}
    future = client.submit(run_managed, spec)
    wait_until("the program runs", (tmp_path / "there").exists, bool)
    assert alive("on-a-worker")
    assert future.cancel()
    wait_until_gone("on-a-worker")
    assert (tmp_path / "ended").read_text() == "ended\n"
    assert client.submit(abs, -1).result(WITHIN) == 1
