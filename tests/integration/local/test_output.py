"""What a task prints can be read by its name: while it runs, after it ended, and after it was collected."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blockyard import Client, LocalPool
from blockyard_worker.worker.capture import LONG_SECONDS
from tests.integration.processes import WITHIN, House, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    """Two workers."""
    with Client.local(workers=2, folder=house.folder) as client:
        yield client


def prints(text: str, gate: str = "") -> str:
    """Write to both streams, and wait for a file when one is named."""
    sys.stdout.write(f"{text} out\n")
    sys.stdout.flush()
    os.write(2, f"{text} err\n".encode())
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    return text


def test_each_task_has_its_own_output(client: Client) -> None:
    futures = client.submit_many(prints, [f"task {number}" for number in range(50)])
    silent = client.submit(abs, -1)
    assert [future.result(WITHIN) for future in futures] == [f"task {number}" for number in range(50)]
    assert [future.output() for future in futures] == [f"task {n} out\ntask {n} err\n" for n in range(50)]
    assert silent.result(WITHIN) == 1
    assert silent.output() == ""


def test_it_can_be_read_while_the_task_runs(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    future = client.submit(prints, "early", str(gate))
    wait_until("it is there", future.output, lambda seen: seen == "early out\nearly err\n")
    assert not future.done()
    gate.touch()
    assert future.result(WITHIN) == "early"


def _replaces() -> None:
    sys.stdout = sys.stderr = None  # as a program may do that wants to be silent


def _closes_streams() -> None:
    sys.stdout.close()
    sys.stderr.close()


def _closes_descriptors() -> None:
    sys.stdout.write("before")
    os.close(1)
    os.close(2)


@pytest.mark.parametrize("job", [_replaces, _closes_streams, _closes_descriptors])
def test_what_a_task_does_to_its_streams_is_over_with_it(client: Client, job: Callable[[], None]) -> None:
    spoils = client.submit_many(lambda _: job(), range(8))
    assert [future.exception(WITHIN) for future in spoils] == [None] * 8
    after = client.submit_many(prints, ["after"] * 8)
    assert [future.result(WITHIN) for future in after] == ["after"] * 8
    assert {future.output() for future in after} == {"after out\nafter err\n"}
    if job is _closes_descriptors:
        assert {future.output() for future in spoils} == {"before"}


def test_streams_that_an_initializer_has_set_stay(house: House) -> None:
    def shout() -> None:
        class Loud(io.StringIO):
            def write(self, text: str, /) -> int:
                return os.write(1, text.upper().encode())

        sys.stdout = Loud()

    def prints_long_enough(text: str) -> str:  # to be asked about: its output goes past the worker's own streams
        time.sleep(2 * LONG_SECONDS)
        return prints(text)

    with Client.local(
        pools={"default": LocalPool(workers_per_node=1, initializer=shout)}, folder=house.folder
    ) as client:
        loud = client.submit_many(prints_long_enough, ["task"] * 3)
        assert [future.result(WITHIN) for future in loud] == ["task"] * 3
        wait_until("all is read", lambda: [future.output() for future in loud], lambda seen: all(map(bool, seen)))
        assert all("TASK OUT" in future.output() for future in loud)


def test_only_the_end_of_much_is_kept(client: Client) -> None:
    def much() -> None:
        for number in range(100_000):
            print(number)  # noqa: T201 - what this is about

    future = client.submit(much)
    future.result(WITHIN)
    shown = future.output()
    assert shown.endswith("99998\n99999\n")
    assert "bytes before this were dropped" in shown
    assert len(shown) < 70_000
