"""Where there is no room: `submit` waits or says so, coroutines wait without holding up their loop, others go on."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import QueueFull
from blockyard.serving import Limits
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import engine_of, pool_status

pytestmark = pytest.mark.timeout(300)


class Gate:
    """A file that tasks wait for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        self.path.touch()

    def wait(self) -> int:
        deadline = time.monotonic() + WITHIN
        while not self.path.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.path} was never made")
            time.sleep(0.01)
        return 1


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Closed."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    """One worker, room for ten tasks of a client."""
    with Client.local(workers=1, folder=house.folder, limits=Limits(max_tasks=10, max_bytes=1_000_000)) as client:
        yield client


def test_at_the_limit_of_tasks_submit_waits_for_room(client: Client, gate: Gate) -> None:
    futures = [client.submit(gate.wait) for _ in range(10)]
    extra = threading.Thread(target=lambda: futures.append(client.submit(gate.wait)), daemon=True)
    extra.start()
    wait_until("submit waits", lambda: engine_of(client).room.waiting, lambda waiting: waiting == 1)
    assert len(futures) == 10
    gate.open()
    extra.join(WITHIN)
    assert [future.result(WITHIN) for future in futures] == [1] * 11


def test_a_batch_larger_than_the_limit_goes_in_by_pieces(client: Client) -> None:
    most = 0
    futures = []
    done = threading.Event()

    def offer() -> None:
        futures.extend(client.submit_many(abs, range(-200, 0)))
        done.set()

    threading.Thread(target=offer, daemon=True).start()
    while not done.wait(0.005):
        pool = pool_status(client)
        most = max(most, pool.queued + pool.assigned)
    assert [future.result(WITHIN) for future in futures] == list(range(200, 0, -1))
    assert most <= 10


def test_at_the_limit_of_bytes_it_waits_too(client: Client, gate: Gate) -> None:
    with Client.connect(client.folder, on_full="raise") as impatient:
        held = [impatient.submit(gate.wait), *impatient.submit_many(len, [bytes(60_000)] * 8)]
        with pytest.raises(QueueFull, match="max_bytes=1000000"):
            impatient.submit_many(len, [bytes(60_000)] * 9)
        gate.open()
        assert [future.result(WITHIN) for future in held] == [1] + [60_000] * 8
        assert impatient.submit(len, bytes(60_000)).result(WITHIN) == 60_000, "there is room again"


def test_at_the_limit_of_disk_large_arguments_wait_too(house: House, gate: Gate) -> None:
    limits = Limits(max_disk=2_000_000)
    with (
        Client.local(workers=1, folder=house.folder, limits=limits) as client,
        Client.connect(house.folder, on_full="raise") as impatient,
    ):
        held = [client.submit(gate.wait), *client.submit_many(len, [bytes(500_000)] * 3)]
        wait_until("the only worker is busy", held[0].running, bool)
        theirs = impatient.submit_many(len, [bytes(500_000)] * 3)
        with pytest.raises(QueueFull, match="max_disk=2000000"):
            impatient.submit(len, bytes(700_000))
        with pytest.raises(QueueFull, match="max_disk=2000000"):
            impatient.put(bytes(700_000))
        extra = threading.Thread(target=lambda: held.append(client.submit(len, bytes(700_000))), daemon=True)
        extra.start()
        wait_until("submit waits", lambda: engine_of(client).room.waiting, lambda waiting: waiting == 1)
        gate.open()
        extra.join(WITHIN)
        assert [future.result(WITHIN) for future in held] == [1, *[500_000] * 3, 700_000]
        assert [future.result(WITHIN) for future in theirs] == [500_000] * 3
        assert len(client.submit_many(len, [bytes(500_000)] * 20)) == 20, "in pieces"
        wait_until("all is freed", lambda: engine_of(client).room.disk, lambda left: left == 0)


def test_values_that_are_put_count_until_they_are_freed(house: House) -> None:
    with Client.local(workers=1, folder=house.folder, limits=Limits(max_disk=1_000_000)) as client:
        kept = client.put(bytes(800_000))
        with pytest.raises(QueueFull, match="max_disk=1000000"):
            client.put(bytes(300_000))  # though it would wait: nothing is unfinished whose end would make room
        assert client.submit(len, kept).result(WITHIN) == 800_000
        del kept
        gc.collect()
        wait_until("it is freed", lambda: engine_of(client).room.disk, lambda left: left == 0)
        assert client.submit(len, client.put(bytes(900_000))).result(WITHIN) == 900_000


def test_what_is_left_of_all_disk_is_shared_out(house: House, gate: Gate) -> None:
    limits = Limits(max_disk=10_000_000, total_disk=4_000_000)
    with Client.local(workers=1, folder=house.folder, limits=limits) as client:
        held = [client.submit(gate.wait), *client.submit_many(len, [bytes(1_000_000)] * 2)]
        with Client.connect(house.folder, on_full="raise") as other:
            wait_until(
                "it has half of the rest", lambda: engine_of(other).room.limits.max_disk, lambda most: most < 1_100_000
            )
            other.submit(len, bytes(500_000))
            with pytest.raises(QueueFull, match="max_disk"):
                other.submit(len, bytes(1_000_000))
            gate.open()
            assert [future.result(WITHIN) for future in held] == [1, *[1_000_000] * 2]


def test_outcomes_of_a_kept_run_count_until_somebody_looks_at_them(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockyard.room._COMPLAINT_SECONDS", 0.2)
    assert client.folder is not None
    with Client.connect(client.folder, run="kept", on_full="raise") as impatient:
        futures = impatient.submit_many(abs, range(-10, 0))
        wait_until("all have ended", lambda: all(future.done() for future in futures), bool)
        with pytest.raises(QueueFull, match="the outcomes of 10 are uncollected"):
            impatient.submit(abs, -1)
        assert [future.result(WITHIN) for future in futures] == list(range(10, 0, -1))
        assert impatient.submit(abs, -1).result(WITHIN) == 1
    with Client.connect(client.folder, run="patient") as patient:
        futures = patient.submit_many(abs, range(-10, 0))
        extra = threading.Thread(target=lambda: futures.append(patient.submit(abs, -11)), daemon=True)
        extra.start()
        wait_until("it is said what is waited for", lambda: caplog.text, lambda text: "only this program can" in text)
        assert futures[0].result(WITHIN) == 10
        extra.join(WITHIN)
        assert futures[-1].result(WITHIN) == 11


def test_who_asks_for_it_is_told_instead_of_waiting(client: Client, gate: Gate) -> None:
    with Client.connect(client.folder, on_full="raise") as impatient:
        futures = [impatient.submit(gate.wait) for _ in range(10)]
        with pytest.raises(QueueFull, match="max_tasks=10"):
            impatient.submit(gate.wait)
        gate.open()
        assert [future.result(WITHIN) for future in futures] == [1] * 10
        assert impatient.submit(gate.wait).result(WITHIN) == 1, "there is room again"


def test_another_client_goes_on_while_one_is_at_its_limit(client: Client, gate: Gate) -> None:
    held = [client.submit(gate.wait) for _ in range(10)]
    assert client.folder is not None
    with Client.connect(client.folder) as other:
        theirs = other.submit_many(abs, range(-10, 0))
        cancelled = [future.cancel() for future in held[:1]]
        assert cancelled == [True]
        gate.open()
        assert [future.result(WITHIN) for future in theirs] == list(range(10, 0, -1))


def _share(client: Client) -> int:
    return engine_of(client).room.limits.max_tasks


def test_what_is_left_of_the_whole_is_shared_out(house: House, gate: Gate) -> None:
    limits = Limits(max_tasks=1000, total_tasks=40)
    with (
        Client.local(workers=1, folder=house.folder, limits=limits) as client,
        Client.connect(house.folder, on_full="raise") as other,
    ):
        wait_until("each has half of it", lambda: _share(client), lambda share: share == 20)
        held = [client.submit(gate.wait) for _ in range(20)]
        wait_until("the other has half of the rest", lambda: _share(other), lambda share: share <= 12)
        with pytest.raises(QueueFull):
            other.submit_many(abs, range(-20, 0))
        gate.open()
        assert [future.result(WITHIN) for future in held] == [1] * 20
        wait_until("it has half of the whole again", lambda: _share(other), lambda share: share >= 18)
        assert [future.result(WITHIN) for future in other.submit_many(abs, range(-18, 0))] == list(range(18, 0, -1))


def test_coroutines_wait_for_room_without_holding_up_their_loop(client: Client, gate: Gate) -> None:
    async def main() -> list[int]:
        tasks = [asyncio.create_task(client.asyncio.submit(gate.wait)) for _ in range(15)]
        while not engine_of(client).room.waiting:
            await asyncio.sleep(0.01)  # the loop runs, or the gate would never be opened
        gate.open()
        return await asyncio.gather(*tasks)

    assert asyncio.run(asyncio.wait_for(main(), WITHIN)) == [1] * 15


def test_a_coroutine_cancelled_while_it_waits_for_room_leaves_no_task_behind(client: Client, gate: Gate) -> None:
    held = [client.submit(gate.wait) for _ in range(10)]

    async def main() -> None:
        waiting = asyncio.create_task(client.asyncio.submit(time.sleep, 3600))
        while not engine_of(client).room.waiting:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.open()

    asyncio.run(asyncio.wait_for(main(), WITHIN))
    assert [future.result(WITHIN) for future in held] == [1] * 10
    assert client.submit(abs, -1).result(WITHIN) == 1, "the only worker is free"


def test_results_that_no_coroutine_asks_for_any_more_are_cancelled(client: Client) -> None:
    async def main() -> list[int]:
        results = client.asyncio.map(_sleep, [0, 0, 3600, 3600])
        found = [await anext(results), await anext(results)]
        await results.aclose()
        return found

    assert asyncio.run(asyncio.wait_for(main(), WITHIN)) == [0, 0]
    assert client.submit(abs, -1).result(WITHIN) == 1, "the only worker is free"


def _sleep(seconds: int) -> int:
    time.sleep(seconds)
    return seconds
