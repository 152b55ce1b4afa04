"""MPI over the managers of one block: ranks on each, below a keeper there, and none of them left behind."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.errors import ConfigError
from blockyard.managed import ManagedResult, MPIExecutor, TaskStatus, parts, run_managed, wide
from tests.integration.managed.test_attacks import alive, wait_until_gone
from tests.integration.managed.test_keepers import state_of
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import ending_what_runs

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("wide") / "state")


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[Client]:
    """A block of two managers."""
    with Client.local(workers=2, nodes_per_block=2, folder=house.folder) as one, ending_what_runs(one):
        yield one
    house.wait_until_empty()


def submit(client: Client, spec: dict[str, Any]) -> Any:
    over_both = client.options(nodes=2, ranks=spec["ranks"])
    return over_both.submit(run_managed, {"oversubscribe": True, "echo": False, **spec})


def run(client: Client, spec: dict[str, Any]) -> ManagedResult:
    found: ManagedResult = submit(client, spec).result(WITHIN)
    return found


@pytest.mark.needs_mpi
def test_each_manager_has_its_share_of_the_ranks(client: Client, tmp_path: Path) -> None:
    above = "tr '\\0' '\\n' < /proc/$PPID/environ | grep -a ^BLOCKYARD_PART="
    script = f"echo $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE $WORD $({above})"
    spec = {"binary": ["bash", "-c", script], "ranks": 4, "folder": str(tmp_path), "environment": {"WORD": "a b"}}
    found = run(client, spec).check()
    assert sorted(found.stdout.splitlines()) == [
        f"{rank} of 4 a b BLOCKYARD_PART={part}" for rank, part in enumerate((0, 0, 1, 1))
    ]
    assert list(tmp_path.glob("mpi-*")) == []
    assert "a b" not in found.record.command


ALLREDUCE = """
import ctypes, os
mpi = ctypes.CDLL("libmpi.so.40", ctypes.RTLD_GLOBAL)
def handle(name):
    return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(mpi, f"ompi_mpi_{name}")))
mpi.MPI_Init(None, None)
mine, total = ctypes.c_int(1 + int(os.environ["OMPI_COMM_WORLD_RANK"])), ctypes.c_int(0)
mpi.MPI_Allreduce(
    ctypes.byref(mine), ctypes.byref(total), 1, handle("int"), handle("op_sum"), handle("comm_world")
)
print(f"{total.value}\\n", end="", flush=True)
mpi.MPI_Finalize()
"""


@pytest.mark.needs_mpi
def test_ranks_reach_one_another_by_mpi(client: Client, tmp_path: Path) -> None:
    spec = {"binary": [sys.executable, "-S", "-c", ALLREDUCE], "fill": False, "ranks": 4, "folder": str(tmp_path)}
    found = run(client, spec)
    assert found.check().stdout == "10\n" * 4


@pytest.mark.needs_mpi
def test_a_function_speaks_from_all_of_them_and_the_first_rank_gives_the_result(client: Client, tmp_path: Path) -> None:
    spec = {"function": "tests.integration.managed.jobs:add", "parameters": {"a": 1, "b": 2}, "ranks": 3}
    for _ in range(2):  # again in the same folder
        found = run(client, {**spec, "folder": str(tmp_path)}).check()
        assert (found.payload, found.stdout) == ({"sum": 3}, "adding 1 2\n" * 3)
        assert found.record.communicators[0].startswith("CurveCommunicator")


@pytest.mark.needs_mpi
def test_a_rank_that_fails_on_the_other_manager_fails_the_task_and_leaves_nothing(
    client: Client, tmp_path: Path
) -> None:
    script = 'if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then exit 5; fi; sleep 1000'
    found = run(client, {"binary": ["bash", "-c", script], "ranks": 2, "folder": str(tmp_path),
                         "environment": {"MARK": "wide-failing"}})  # fmt: skip
    assert (found.status, found.exit_code) == (TaskStatus.FAILED, 5)
    wait_until_gone("wide-failing", WITHIN)


@pytest.mark.needs_mpi
@pytest.mark.parametrize("how", ["cancelled", "stopped and cancelled", "mpirun killed", "daemon killed"])
def test_all_ranks_end_with_their_task(client: Client, house: House, tmp_path: Path, how: str) -> None:
    mark = f"wide-{how.replace(' ', '-')}"
    script = f"touch {tmp_path}/rank$OMPI_COMM_WORLD_RANK; exec sleep 1000"
    future = submit(client, {"binary": ["bash", "-c", script], "ranks": 2, "folder": str(tmp_path), "grace": 1.0,
                             "environment": {"MARK": mark}})  # fmt: skip
    wait_until("both ranks run", lambda: len(list(tmp_path.glob("rank*"))), lambda count: count == 2)
    if how == "stopped and cancelled":
        future.stop()
        wait_until("all stop", lambda: {state_of(pid) for pid in alive(mark)}, lambda states: states == {"T"})
    match how:
        case "cancelled" | "stopped and cancelled":
            assert future.cancel()
        case "mpirun killed":
            os.kill(_one_of(mark, "mpirun"), signal.SIGKILL)
        case _:
            os.kill(_daemon_of_part_1(house), signal.SIGKILL)
    if "killed" in how:
        assert future.result(WITHIN).status is TaskStatus.FAILED
    wait_until_gone(mark, WITHIN)


def _one_of(mark: str, program: str) -> int:
    (found,) = [pid for pid in alive(mark) if Path(f"/proc/{pid}/comm").read_text().strip() == program]
    return found


def _daemon_of_part_1(house: House) -> int:
    """orted of the other manager of this very system."""
    daemons = [one for one in house.everything() if one.command.startswith("orted ")]
    (found,) = [one.pid for one in daemons if one.marks.get("BLOCKYARD_PART") == "1"]
    return found


def test_parts_that_do_not_come_are_named(tmp_path: Path) -> None:
    with wide.Leading(str(tmp_path), parts.Place(0, 3, 1), "127.0.0.1") as leading:
        (rendezvous,) = tmp_path.glob("mpi-*")
        assert rendezvous.stat().st_mode & 0o777 == 0o600
        with pytest.raises(wide.NobodyCame, match=r"parts \[1, 2\]"):
            leading.gather(0.05)
    assert not rendezvous.exists()


def test_a_shared_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BLOCKYARD_PARTS": "2", "BLOCKYARD_PART": "0", "BLOCKYARD_RANKS": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="folder"):
        MPIExecutor("wide", 2, command=["true"]).execute_task()
