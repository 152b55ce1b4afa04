"""The client's process is killed: what it supervised ends with it, and another process goes on with its run.

Also who owns a run when there are several clients.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import BrokenBlockyard, RunTakenOver
from tests.integration.chaos.programs import owner
from tests.integration.chaos.workload import executions
from tests.integration.processes import WITHIN, House, kill, look_at, stop, wait_until
from tests.integration.questions import status_of
from tests.machine import ROOT, Size, import_path

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where tasks leave their marks."""
    return tmp_path / "marks"


def _own(marks: Path, count: int) -> tuple["subprocess.Popen[str]", set[int]]:
    """Start the program, wait until it has submitted `count` tasks, and return it with what it collected."""
    process = subprocess.Popen(
        [sys.executable, owner.__file__, "sweep", str(count), str(marks)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    collected: set[int] = set()
    for line in process.stdout:
        if line.startswith("ready"):
            return process, collected
        collected.add(int(line.split()[1]))
    raise AssertionError(f"the program ended with {process.wait()}")


def _kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _wait_until_known(client: Client, tasks: int) -> None:
    wait_until("the interchange has the tasks", lambda: status_of(client).tasks, lambda found: found == tasks)


@pytest.mark.soak
def test_all_that_a_killed_client_supervised_is_gone_soon(run_house: House, marks: Path, size: Size) -> None:
    """Full: within 5 s. Small: in the end, because the machine may be busy."""
    process, _ = _own(marks, 2000)
    try:
        assert len(run_house.everything()) >= 4, "interchange, manager, workers"
    finally:
        _kill(process)
    run_house.wait_until_empty(5.0 if size is Size.FULL else WITHIN)


def _kill_all_at_once(process: "subprocess.Popen[str]", house: House) -> None:
    """None of them gets to see another one die."""
    everything = [found for found in (look_at(process.pid), *house.everything()) if found is not None]
    assert len(everything) >= 5, "client, interchange, manager, workers"
    for signal_number in (signal.SIGSTOP, signal.SIGKILL):
        for one in everything:
            kill(one, signal_number)
    _kill(process)


MANY = """
import sys
from pathlib import Path
from blockyard import Client
with Client.connect(Path(sys.argv[1]), run=sys.argv[2]) as client:
    print("begins", flush=True)
    client.submit_many(abs, range(100_000))
    sys.stdin.read()
"""


@pytest.mark.soak
@pytest.mark.parametrize("interchange", ["runs", "is stopped meanwhile"])
def test_of_a_submission_cut_short_the_first_tasks_are_there_each_once(
    house: House, size: Size, interchange: str
) -> None:
    """It travels in many frames. Small: 3 kills between 0 and 0.3 s after it began; full: 30."""
    dice = random.Random(interchange)
    with Client.local(workers=2, folder=house.folder) as host:
        assert host.submit(abs, -1).result(WITHIN) == 1
        (process,) = house.interchanges()
        for number in range(30 if size is Size.FULL else 3):
            run = f"run-{number}"
            client = subprocess.Popen(
                [sys.executable, "-c", MANY, str(house.folder), run],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": import_path()},
            )
            assert client.stdout is not None
            assert client.stdout.readline() == "begins\n"
            time.sleep(dice.uniform(0.0, 0.3))
            if interchange != "runs":
                stop(process)
            client.kill()
            client.communicate()
            kill(process, signal.SIGCONT)
            with Client.connect(house.folder, run=run, take_over=True) as other:
                results = [future.result(WITHIN) for future in other.reattach()]
                assert sorted(results) == list(range(len(results)))
        assert house.interchanges() == [process]


@pytest.mark.parametrize("how", ["the client alone", "all at once"])
def test_another_process_goes_on_with_the_run_of_a_killed_one(run_house: House, marks: Path, how: str) -> None:
    process, collected = _own(marks, 2000)
    if how == "all at once":
        _kill_all_at_once(process, run_house)
    else:
        _kill(process)
    with Client.local(workers=2, run="sweep") as client:
        futures = client.reattach()
        results = [future.result(WITHIN) for future in futures]
        assert len(results) == len(set(results)), "a task came twice"
        # What was collected may still come if the kill was faster than its message.
        assert set(range(2000)) - collected <= set(results) <= set(range(2000))
        assert client.submit(pow, 2, 10).result(WITHIN) == 1024
    assert set(executions(marks)) == set(range(2000))


def test_a_clean_exit_removes_what_is_finished(run_house: House) -> None:
    with Client.local(workers=2, run="sweep") as client:
        looked_at, other = client.submit(abs, -1), client.submit(abs, -2)
        assert looked_at.result(WITHIN) == 1
    assert other.result(WITHIN) == 2, "it stays with the client that waited for it"
    with Client.local(workers=2, run="sweep") as client:
        assert client.reattach() == []
        assert status_of(client).tasks == 0


def test_results_not_looked_at_are_kept_when_the_program_fails(run_house: House) -> None:
    def fails() -> None:
        with Client.local(workers=2, run="sweep") as client:
            looked_at = client.submit(abs, -1)
            client.submit_many(abs, [-3, -4])
            assert looked_at.result(WITHIN) == 1
            raise LookupError

    with pytest.raises(LookupError):
        fails()
    with Client.local(workers=2, run="sweep") as client:
        assert sorted(future.result(WITHIN) for future in client.reattach()) == [3, 4]
    with Client.local(workers=2, run="sweep") as client:
        assert client.reattach() == []


def test_a_run_in_use_is_refused_by_name_and_not_disturbed(run_house: House) -> None:
    with Client.local(workers=1, run="sweep") as client:
        with pytest.raises(BrokenBlockyard, match=f"process {os.getpid()}"):
            Client.local(workers=1, run="sweep")
        assert client.submit(abs, -1).result(WITHIN) == 1


def test_two_clients_see_all_results_and_only_the_owners_collection_frees_them(house: House) -> None:
    with (
        Client.local(workers=2, folder=house.folder),
        Client.connect(house.folder, run="shared") as first,
        Client.connect(house.folder, run="shared") as second,
    ):
        theirs = first.submit_many(abs, range(-10, 0))
        _wait_until_known(first, 10)
        seen = second.reattach()
        assert [future.result(WITHIN) for future in seen] == list(range(10, 0, -1))
        assert status_of(first).tasks == 10, "the second client's collection frees nothing"
        assert [future.result(WITHIN) for future in theirs] == list(range(10, 0, -1))
        wait_until("the owner's collection has freed them", lambda: status_of(first).tasks, lambda left: left == 0)


def _until_there_is(path: str) -> None:
    wait_until("the file is there", lambda: os.path.exists(path), bool)


def test_the_old_owner_is_told_that_its_run_was_taken_over(house: House, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Client.local(workers=1, folder=house.folder):
        old = Client.connect(house.folder, run="shared")
        waiting = old.submit(_until_there_is, str(gate))
        done = old.submit(abs, -1)
        _wait_until_known(old, 2)
        with Client.connect(house.folder, run="shared", take_over=True) as new:
            taken = new.reattach()
            with pytest.raises(RunTakenOver, match="shared"):
                waiting.result(WITHIN)
            with pytest.raises(RunTakenOver, match="shared"):
                old.submit(abs, -2)
            gate.touch()
            assert {future.result(WITHIN) for future in taken} == {None, 1}
            assert done.done()
        old.shutdown(wait=False)


def test_the_signal_of_a_terminal_ends_a_client_and_all_that_it_started(run_house: House, marks: Path) -> None:
    process, _ = _own(marks, 100)
    process.send_signal(signal.SIGTERM)
    process.wait(WITHIN)
    _kill(process)
    run_house.wait_until_empty()
