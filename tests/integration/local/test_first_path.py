"""`Client.local` as a newcomer meets it: real processes, sockets and journal. Faults are in the neighbouring files."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, as_completed
from pathlib import Path

import pytest

from blockyard import Client, LocalPool, nearness
from blockyard.errors import DependencyError, NotSendable, TaskTimeout, UnknownPool
from tests.integration.processes import WITHIN, wait_until


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client.local(workers=2) as client:
        yield client


def test_a_task_gives_its_result(client: Client) -> None:
    assert client.submit(pow, 2, 10).result(WITHIN) == 1024


def test_many_tasks_come_back_in_order(client: Client) -> None:
    futures = client.submit_many(abs, range(-5000, 0))
    assert [future.result(WITHIN) for future in futures] == list(range(5000, 0, -1))


def test_futures_in_containers_are_dependencies(client: Client) -> None:
    parts = client.submit_many(abs, [-1, -2, -3])
    total = client.submit(sum, parts)
    assert client.submit(dict, {"total": total, "parts": parts}).result(WITHIN) == {"total": 6, "parts": [1, 2, 3]}


def test_a_future_that_ended_may_still_be_an_argument(client: Client) -> None:
    part = client.submit(abs, -7)
    assert part.result(WITHIN) == 7
    assert client.submit(sum, [part, part]).result(WITHIN) == 14


def test_a_chain_of_a_thousand_tasks_ends(client: Client) -> None:
    future = client.submit(abs, 0)
    for _ in range(1000):
        future = client.submit(lambda value: value + 1, future)
    assert future.result(WITHIN) == 1000


def test_an_exception_brings_its_remote_traceback(client: Client) -> None:
    def fail() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there") as caught:
        client.submit(fail).result(WITHIN)
    assert "in fail" in str(caught.value.__cause__)


def test_a_failed_dependency_is_named_by_its_first_cause(client: Client) -> None:
    broken = client.submit(divmod, 1, 0)
    last = client.submit(abs, client.submit(abs, broken))
    with pytest.raises(DependencyError, match="ZeroDivisionError"):
        last.result(WITHIN)


def test_what_cannot_be_pickled_is_refused_by_its_path(client: Client) -> None:
    with pytest.raises(NotSendable, match=r"argument 1.*'lock'"):
        client.submit(abs, {"lock": threading.Lock()})


def test_an_unknown_pool_is_an_error_with_the_nearest_name(client: Client) -> None:
    with pytest.raises(UnknownPool, match="default"):
        client.options(pool="defualt").submit(abs, 1).result(WITHIN)


def test_a_task_is_tried_again_on_the_errors_it_names(client: Client, tmp_path: Path) -> None:
    def third_time_lucky(path: str) -> int:
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) < 3:
            raise ConnectionResetError
        return os.path.getsize(path)

    persistent = client.options(retries=5, retry_on=[OSError])
    assert persistent.submit(third_time_lucky, str(tmp_path / "tries")).result(WITHIN) == 3
    with pytest.raises(ConnectionResetError):
        client.options(retries=5, retry_on="KeyError").submit(third_time_lucky, str(tmp_path / "one")).result(WITHIN)
    assert (tmp_path / "one").read_text() == "x"


def test_a_task_that_runs_too_long_is_ended(client: Client) -> None:
    with pytest.raises(TaskTimeout):
        client.options(timeout=0.2).submit(time.sleep, 60).result(WITHIN)


def test_a_running_task_can_be_cancelled(client: Client, tmp_path: Path) -> None:
    started = tmp_path / "started"

    def wait(path: str) -> None:
        Path(path).touch()
        time.sleep(60)

    future = client.submit(wait, str(started))
    wait_until("it runs", started.exists, bool)
    assert future.cancel()
    assert future.cancelled()
    # Both workers are free again, or one of these would wait for a minute.
    assert [one.result(WITHIN) for one in client.submit_many(abs, range(10))] == list(range(10))


def test_the_standard_library_waits_for_our_futures(client: Client) -> None:
    futures: list[Future[int]] = [*client.submit_many(abs, range(100))]
    assert sorted(future.result() for future in as_completed(futures, WITHIN)) == list(range(100))


def test_coroutines_await_tasks(client: Client) -> None:
    async def main() -> list[int]:
        return list(await asyncio.gather(*(client.asyncio.submit(abs, -number) for number in range(20))))

    assert asyncio.run(main()) == list(range(20))


def test_an_event_loop_uses_it_as_its_executor(client: Client) -> None:
    async def main() -> int:
        return await asyncio.get_running_loop().run_in_executor(client, abs, -3)

    assert asyncio.run(main()) == 3


def test_map_with_chunks_and_a_buffer_keeps_the_order(client: Client) -> None:
    assert list(client.map(pow, range(100), [2] * 100, chunksize=7)) == [number**2 for number in range(100)]
    assert list(client.map(abs, iter(range(50)), buffersize=3)) == list(range(50))


def test_pools_run_side_by_side() -> None:
    pools = {name: LocalPool(min_blocks=1, init_blocks=1) for name in ("left", "right")}
    with Client.local(pools=pools) as client:
        left, right = (client.options(pool=name).submit(os.getppid).result(WITHIN) for name in pools)
        assert left != right


def test_a_value_is_put_once_and_needed_often(client: Client) -> None:
    table = client.put(list(range(100_000)))
    small = client.put("small")
    assert client.starmap(lambda rows, at: rows[at], [(table, at) for at in range(500)])[499].result(WITHIN) == 499
    assert client.submit(dict, {"x": [small, table]}).result(WITHIN) == {"x": ["small", list(range(100_000))]}


def test_large_bodies_reach_clients_and_workers_that_share_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder that these cannot read is what another machine looks like to the interchange.
    monkeypatch.setattr(nearness, "read", lambda _: b"")
    with Client.local(workers=1, folder=tmp_path / "far") as client:
        big = bytes(range(256)) * 4000
        doubled = client.submit(lambda data: data * 2, big)
        assert client.submit(len, doubled).result(WITHIN) == 2 * len(big)
        assert doubled.result(WITHIN) == big * 2
        assert client.submit(len, client.put(big)).result(WITHIN) == len(big)


def test_what_needs_a_task_that_has_failed_fails_in_its_future(client: Client) -> None:
    broken = client.submit(divmod, 1, 0)
    with pytest.raises(ZeroDivisionError):
        broken.result(WITHIN)
    many = client.submit_many(abs, [1, broken, -3])
    with pytest.raises(DependencyError, match="ZeroDivisionError"):
        client.submit(abs, broken).result(WITHIN)
    with pytest.raises(DependencyError, match="ZeroDivisionError"):
        many[1].result(WITHIN)
    assert [many[0].result(WITHIN), many[2].result(WITHIN)] == [1, 3]


def test_a_fork_after_the_client_was_closed_closes_nothing_of_others(tmp_path: Path) -> None:
    with Client.local(workers=1) as closed:
        closed.submit(abs, 1).result(WITHIN)
    # This file is likely to have the number that the client's lock had.
    with open(tmp_path / "kept", "w") as kept:
        child = os.fork()
        if not child:
            os._exit(0 if os.fstat(kept.fileno()).st_size == 0 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert closed.folder is not None
