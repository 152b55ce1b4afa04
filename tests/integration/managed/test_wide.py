"""MPI over the managers of one block: ranks on each, below a keeper there, and none of them left behind."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blockyard import Client, this_try
from blockyard.errors import ConfigError
from blockyard.managed import ManagedResult, MPIExecutor, TaskStatus, parts, run_managed, wide
from blockyard.managed.parts import ToLeader
from blockyard.managed.shim.blockyard_shim import Link
from blockyard.wire.records import Part
from tests.integration.managed.test_attacks import alive, wait_until_gone
from tests.integration.managed.test_keepers import state_of
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import block_of_two_managers

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("wide") / "state")


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[Client]:
    """A block of two managers."""
    with block_of_two_managers(house, workers=2) as one:
        yield one


def submit(client: Client, spec: dict[str, Any]) -> Any:
    over_both = client.options(nodes=2, ranks=spec["ranks"])
    return over_both.submit(run_managed, {"oversubscribe": True, "echo": False, **spec})


def run(client: Client, spec: dict[str, Any]) -> ManagedResult:
    found: ManagedResult = submit(client, spec).result(WITHIN)
    return found


@pytest.mark.needs_mpi
def test_each_manager_has_its_share_of_the_ranks(client: Client) -> None:
    above = "tr '\\0' '\\n' < /proc/$PPID/environ | grep -a ^BLOCKYARD_PART="
    script = f"echo $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE $WORD $({above})"
    spec = {"binary": ["bash", "-c", script], "ranks": 4, "environment": {"WORD": "a b"}}
    found = run(client, spec).check()
    assert sorted(found.stdout.splitlines()) == [
        f"{rank} of 4 a b BLOCKYARD_PART={part}" for rank, part in enumerate((0, 0, 1, 1))
    ]
    assert "a b" not in found.record.command
    assert len(found.record.metadata["nodes"]) == 2


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
def test_ranks_reach_one_another_by_mpi(client: Client) -> None:
    spec = {"binary": [sys.executable, "-S", "-c", ALLREDUCE], "fill": False, "ranks": 4}
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
def test_a_rank_that_fails_on_the_other_manager_fails_the_task_and_leaves_nothing(client: Client) -> None:
    script = 'if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then exit 5; fi; sleep 1000'
    found = run(client, {"binary": ["bash", "-c", script], "ranks": 2,
                         "environment": {"MARK": "wide-failing"}})  # fmt: skip
    assert (found.status, found.exit_code) == (TaskStatus.FAILED, 5)
    wait_until_gone("wide-failing")


@pytest.mark.needs_mpi
@pytest.mark.parametrize("how", ["cancelled", "stopped and cancelled", "mpirun killed", "daemon killed"])
def test_all_ranks_end_with_their_task(client: Client, house: House, tmp_path: Path, how: str) -> None:
    mark = f"wide-{how.replace(' ', '-')}"
    script = f"touch {tmp_path}/rank$OMPI_COMM_WORLD_RANK; exec sleep 1000"
    future = submit(client, {"binary": ["bash", "-c", script], "ranks": 2, "grace": 1.0,
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
    wait_until_gone(mark)


def _one_of(mark: str, program: str) -> int:
    (found,) = [pid for pid in alive(mark) if Path(f"/proc/{pid}/comm").read_text().strip() == program]
    return found


def _daemon_of_part_1(house: House) -> int:
    """orted of the other manager of this very system."""
    daemons = [one for one in house.everything() if one.command.startswith("orted ")]
    (found,) = [one.pid for one in daemons if one.marks.get("BLOCKYARD_PART") == "1"]
    return found


def a_part(index: int, secret: bytes = bytes(32)) -> Part:
    return Part(index, 3, index, 1, 3, ["a", "b", "c"], "127.0.0.1", secret)


def test_parts_that_do_not_come_are_named() -> None:
    with wide.Leading(a_part(0), "127.0.0.1") as leading, pytest.raises(wide.NobodyCame, match=r"parts \[1, 2\]"):
        leading.gather(0.05)


def test_who_has_not_the_secret_of_the_try_is_refused_and_who_has_is_let_in() -> None:
    """Told the leader's public key even, somebody else is no member; and nobody follows a leader without it."""
    other = parts.Meeting.of(bytes([1] * 32))
    with wide.Leading(a_part(0), "127.0.0.1") as leading:
        assert leading._listening is not None
        endpoint, (public, _) = leading._listening.router.endpoint, leading._listening.key.split(",")
        stranger = Link(endpoint, f"{public},{other.member.secret.decode()}")
        stranger.send(msgspec.json.encode(ToLeader(1, 1)))
        fooled = Link(endpoint, other.key)
        fooled.send(msgspec.json.encode(ToLeader(2, 1)))
        gate = leading._listening._gate
        wait_until("one is refused", lambda: _gathered(leading), lambda _: gate.refused > 0)
        assert leading.ranks == {0: 1}
        assert stranger.poll() == fooled.poll() == b""
        stranger.end(0.0)
        fooled.end(0.0)
        members = [Link(endpoint, parts.Meeting.of(bytes(32)).key) for _ in (1, 2)]
        for number, member in enumerate(members, 1):
            member.send(msgspec.json.encode(ToLeader(number, 1)))
        leading.gather(WITHIN)
        for member in members:
            member.end(0.0)
    with pytest.raises(wide.NobodyCame, match="part 1"):
        wide._Following(a_part(1), "127.0.0.1").order(0.3)  # the first part has ended


def test_a_part_that_goes_without_a_word_is_lost_and_one_whose_daemon_failed_is_not() -> None:
    with wide.Leading(a_part(0), "127.0.0.1") as leading:
        assert leading._listening is not None
        endpoint, key = leading._listening.router.endpoint, leading._listening.key
        members = [Link(endpoint, key) for _ in (1, 2)]
        for number, member in enumerate(members, 1):
            member.send(msgspec.json.encode(ToLeader(number, 1)))
        leading.gather(WITHIN)
        members[1].send(msgspec.json.encode(ToLeader(2, code=137)))
        for member in members:
            member.end()
        assert leading.lost() == [1]


def _gathered(leading: wide.Leading) -> None:
    with contextlib.suppress(wide.NobodyCame):
        leading.gather(0.2)


def test_the_first_part_takes_the_next_port_where_one_is_taken() -> None:
    known = parts.Meeting.of(bytes(32))
    with socket.create_server(("127.0.0.1", known.ports[0])), wide.Leading(a_part(0), "127.0.0.1") as leading:
        assert leading._listening is not None
        assert leading._listening.router.endpoint.endswith(f":{known.ports[1]}")


def test_a_folder_that_all_share_is_asked_for_where_parameters_travel_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Around:
        part = staticmethod(lambda: a_part(0))

    monkeypatch.setattr(this_try, "around", Around())
    with pytest.raises(ConfigError, match="folder"):
        MPIExecutor("tests.integration.managed.jobs:add", 3).execute_task()


def test_what_a_wide_task_starts_cannot_speak_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKYARD_PARTS", "2")
    with pytest.raises(ConfigError, match="in the task itself"):
        MPIExecutor("wide", 2, command=["true"]).execute_task()


def test_a_folder_of_a_step_stands_in_for_the_first_parts(tmp_path: Path) -> None:
    own, theirs = tmp_path / "own", tmp_path / "theirs"
    own.mkdir()
    with wide.standing_in(str(own), str(theirs)):
        (theirs / "left").touch()
        with wide.standing_in(str(tmp_path), str(theirs)):  # it is there: on the same machine, or shared
            assert (own / "left").exists()
    assert (own / "left").exists()
    assert not theirs.exists()
