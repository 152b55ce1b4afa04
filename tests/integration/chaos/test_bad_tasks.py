"""Tasks that do what no task should: each harms itself only, ends with an error that says what was seen, and leaves
nothing behind. One pool serves them all, so that each test also shows that the one before did no lasting harm."""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from blockyard import Client
from blockyard.errors import DependencyError, NotLoadable, OutOfMemory, RemoteError, TaskLost, TaskTimeout
from tests.integration.chaos import bad_tasks
from tests.integration.processes import WITHIN, House, look_at, state_of, wait_until
from tests.integration.questions import engine_of
from tests.machine import Size

pytestmark = pytest.mark.timeout(300)

LIMIT_BYTES = 300 * 1024 * 1024


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The state folder of the pool that serves them all."""
    home = House(tmp_path_factory.mktemp("bad") / "state")
    yield home
    home.wait_until_empty()


@pytest.fixture(scope="module")
def pool(home: House) -> Iterator[Client]:
    """Two workers that may take 300 MiB each."""
    with Client.local(workers=2, memory_per_worker=LIMIT_BYTES, folder=home.folder) as client:
        yield client


@pytest.fixture
def client(pool: Client) -> Iterator[Client]:
    """The pool, which must work as before when the test is over, and keep no blob."""
    yield pool
    assert [future.result(WITHIN) for future in pool.submit_many(abs, range(-20, 0))] == list(range(20, 0, -1))
    welcome = engine_of(pool).connect()
    assert welcome.blobs
    wait_until("no blob is left", lambda: _blobs(Path(welcome.blobs)), lambda left: not left)


def _blobs(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize(
    "job, arguments, seen",
    [
        (bad_tasks.exits, (3,), "exit code 3"),
        (bad_tasks.segfaults, (), "SIGSEGV"),
        (bad_tasks.kills_itself, (), "SIGKILL"),
    ],
)
def test_a_task_that_kills_its_worker_is_given_up_with_the_evidence(
    client: Client, job: Callable[..., None], arguments: tuple[int, ...], seen: str
) -> None:
    poison = client.submit(job, *arguments)
    innocent = client.submit_many(abs, range(100))
    with pytest.raises(TaskLost, match=r"5 times \(at most 5\).*" + seen):
        poison.result(WITHIN)
    assert [future.result(WITHIN) for future in innocent] == list(range(100))


def test_daemons_of_a_task_end_with_its_block(tmp_path: Path) -> None:
    house = House(tmp_path / "state")
    with Client.local(workers=1, folder=house.folder) as client:
        left = client.submit(bad_tasks.leaves_daemons).result(WITHIN)
        assert all(look_at(pid) for pid in left), "they outlive their task"
    house.wait_until_empty()
    assert not any(look_at(pid) for pid in left)


def test_a_daemon_without_a_mark_ends_with_its_block_though_a_task_would_not_end(tmp_path: Path) -> None:
    """Its manager alone can tell whose it is, and so has to end by itself, and not by being killed."""
    house = House(tmp_path / "state")
    with Client.local(workers=1, folder=house.folder) as client:
        daemon = client.submit(bad_tasks.leaves_a_daemon_without_a_mark).result(WITHIN)
        deaf = client.submit(bad_tasks.listens_to_nobody, str(tmp_path / "runs"))
        wait_until("it runs", (tmp_path / "runs").exists, bool)
        deaf.cancel()
    house.wait_until_empty()
    if look_at(daemon):
        os.kill(daemon, signal.SIGKILL)
        pytest.fail("the daemon is still there")


def test_of_a_thousand_short_lived_grandchildren_none_stays_as_a_zombie(tmp_path: Path) -> None:
    house = House(tmp_path / "state")
    with Client.local(workers=1, folder=house.folder) as client:
        assert client.submit(bad_tasks.leaves_grandchildren, 1000).result(WITHIN) == 1000
        (manager,) = house.managers()
        wait_until("all are reaped", lambda: _zombies_of(manager.pid), lambda left: not left)
        assert client.submit(abs, -1).result(WITHIN) == 1
    house.wait_until_empty()


def _zombies_of(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [pid for pid in map(int, children) if state_of(pid) == "Z"]


def test_a_task_over_the_pools_memory_ends_with_peak_and_limit(client: Client) -> None:
    with pytest.raises(OutOfMemory, match=rf"used \d+Mi of memory, {LIMIT_BYTES >> 20}Mi are allowed") as caught:
        client.submit(bad_tasks.eats, 4 * LIMIT_BYTES).result(WITHIN)
    assert "peak" not in str(caught.value), "it was said, and in another unit"
    assert caught.value.limit_bytes == LIMIT_BYTES
    assert caught.value.peak_bytes > LIMIT_BYTES


def test_a_task_that_never_ends_is_ended(client: Client) -> None:
    with pytest.raises(TaskTimeout):
        client.options(timeout=0.3).submit(bad_tasks.never_ends).result(WITHIN)


@pytest.mark.soak
def test_a_task_may_print_without_end(client: Client, size: Size) -> None:
    """Small: 100 MB; full: 1 GB."""
    megabytes = 1000 if size is Size.FULL else 100
    assert client.submit(bad_tasks.prints, megabytes).result(WITHIN) == megabytes


@pytest.mark.soak
def test_a_large_result_comes_whole(tmp_path: Path, size: Size) -> None:
    """Small: 100 MB; full: 1 GB. Without a limit of memory, which is another test's business."""
    size_bytes = 1_000_000_000 if size is Size.FULL else 100_000_000
    with Client.local(workers=1, folder=tmp_path / "state") as client:
        blobs = Path(engine_of(client).connect().blobs)
        result = client.submit(bad_tasks.returns, size_bytes).result(WITHIN)
        assert (len(result), result[:1], result[-1:]) == (size_bytes, b"a", b"z")
        del result
        wait_until("no blob is left", lambda: _blobs(blobs), lambda left: not left)
    House(tmp_path / "state").wait_until_empty()


def test_arrays_go_through_shared_memory_and_leave_nothing_there(client: Client) -> None:
    arrays = [np.full(12_800, number, dtype=np.float64) for number in range(50)]  # 100 KB each
    futures = client.submit_many(bad_tasks.doubles, arrays)
    summed = client.submit(sum, futures)
    for number, future in enumerate(futures):
        assert np.all(future.result(WITHIN) == 2 * number)
    assert np.all(summed.result(WITHIN) == 2 * sum(range(50)))


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt("mine"), GeneratorExit("mine"), BaseException("mine")]
)
def test_what_would_end_a_program_is_an_error_like_others(client: Client, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        client.submit(bad_tasks.raises, error).result(WITHIN)
    assert caught.value.args == error.args


def test_a_task_that_calls_itself_for_ever_fails(client: Client) -> None:
    with pytest.raises(RecursionError):
        client.submit(bad_tasks.recurses).result(WITHIN)


@pytest.mark.parametrize(
    "job",
    [
        bad_tasks.removes_its_folder,
        bad_tasks.ignores_signals,
        bad_tasks.leaves_threads,
    ],
)
def test_what_a_task_does_to_its_process_harms_no_other(client: Client, job: Callable[[], None]) -> None:
    assert [future.result(WITHIN) for future in client.submit_many(lambda _: job(), range(8))] == [None] * 8
    with pytest.raises(TaskTimeout):
        client.options(timeout=0.3).submit(bad_tasks.never_ends).result(WITHIN)


def test_arguments_that_do_not_unpickle_are_their_tasks_failure(client: Client) -> None:
    with pytest.raises(NotLoadable, match="the trap sprang") as caught:
        client.submit(abs, bad_tasks.Trap()).result(WITHIN)
    assert "arguments" in str(caught.value)


def test_a_result_that_does_not_unpickle_says_so_here(client: Client) -> None:
    future = client.submit(bad_tasks.returns_a_trap)
    with pytest.raises(NotLoadable, match="the trap sprang") as caught:
        future.result(WITHIN)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    "job, arguments, said",
    [
        (bad_tasks.raises_much, (50_000_000,), "raise less, and return or write to a file what is large"),
        (bad_tasks.raises_what_quits, (), "told all the same .*pickling it raised SystemExit"),
    ],
)
def test_an_error_that_cannot_travel_is_told(
    client: Client, job: Callable[..., None], arguments: tuple[int, ...], said: str
) -> None:
    with pytest.raises(RemoteError, match=said):
        client.submit(job, *arguments).result(WITHIN)


def test_a_function_whose_module_the_worker_lacks_names_the_module(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here_to_see.py").write_text("def work():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    work = importlib.import_module("only_here_to_see").work
    with pytest.raises(NotLoadable, match="only_here_to_see"):
        client.submit(work).result(WITHIN)
    del sys.modules["only_here_to_see"]


def test_a_long_chain_fails_at_once_and_names_the_first_cause(client: Client) -> None:
    first = future = client.submit(divmod, 1, 0)
    chain = []
    for _ in range(5000):
        future = client.submit(abs, future)
        chain.append(future)
    with pytest.raises(DependencyError, match="ZeroDivisionError") as caught:
        chain[-1].result(WITHIN)
    assert caught.value.task == first.task
    assert caught.value.cause_type == "builtins.ZeroDivisionError"
    assert all(isinstance(one.exception(WITHIN), DependencyError) for one in chain)
