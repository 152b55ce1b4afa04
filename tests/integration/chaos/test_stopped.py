"""A process that is stopped for longer than its lease and goes on as if nothing had happened.

A stopped manager's tries are given to others; what it reports afterwards is refused and counted. A stopped interchange
hears nobody, which is nobody's fault: no lease may end by it.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client, LocalPool
from tests.integration.chaos.journal import times_recorded
from tests.integration.chaos.workload import Graph, executions, mark
from tests.integration.processes import WITHIN, House, Process, kill, stop, wait_until
from tests.integration.questions import pool_status
from tests.machine import Size

pytestmark = pytest.mark.timeout(300)

LEASE = 3.0
"""Of a system with the default heartbeat."""
TWO_BLOCKS = {"default": LocalPool(min_blocks=2, init_blocks=2, max_blocks=2, workers_per_node=1)}


def _behind_a_gate(path: str, gate: str, number: int) -> int:
    mark(path, number)
    wait_until("the gate is open", lambda: os.path.exists(gate), bool, 2 * WITHIN)
    return number


def _slow(path: str, number: int) -> int:
    mark(path, number)
    time.sleep(0.2)
    return number


@contextlib.contextmanager
def _stopped(process: Process) -> Iterator[None]:
    """The process does not run meanwhile; it goes on afterwards, whatever happens."""
    try:
        stop(process)
        yield
    finally:
        kill(process, signal.SIGCONT)


def _two_managers(client: Client) -> None:
    wait_until("both blocks have registered", lambda: pool_status(client), lambda pool: pool.managers == 2)


def test_what_a_stopped_manager_reports_late_is_refused_and_counted(house: House, tmp_path: Path) -> None:
    with Client.local(pools=TWO_BLOCKS, folder=house.folder) as client:
        _two_managers(client)
        gate = tmp_path / "gate"
        futures = client.starmap(_behind_a_gate, ((str(tmp_path / "marks"), str(gate), number) for number in range(30)))
        wait_until("each runs one", lambda: executions(tmp_path / "marks"), lambda begun: len(begun) == 2)
        stopped = house.managers()[0]
        with _stopped(stopped):
            gate.touch()
            assert [future.result(WITHIN) for future in futures] == list(range(30))
            assert pool_status(client).managers == 1
        after = wait_until(
            "it is back, and what it reported is counted as late",
            lambda: pool_status(client),
            lambda pool: pool.managers == 2 and pool.late > 0,
        )
        assert (after.done, after.failed) == (30, 0)
        assert after.lost >= 1
        more = client.starmap(_slow, ((str(tmp_path / "marks"), number) for number in range(30, 40)))
        assert [future.result(WITHIN) for future in more] == list(range(30, 40))
    assert set(times_recorded(house.folder).values()) == {1}
    assert set(executions(tmp_path / "marks")) == set(range(40))


@pytest.mark.soak
@pytest.mark.parametrize(
    "stopped, killed", [("interchange", "manager"), ("manager", "interchange"), ("hub", "interchange")]
)
def test_one_is_stopped_while_another_is_killed(
    house: House, tmp_path: Path, size: Size, stopped: str, killed: str
) -> None:
    """Small: once, for longer than a lease; full: 20 times each, for longer and shorter."""
    parts = {"interchange": house.interchanges, "manager": house.managers, "hub": house.hubs}
    with Client.local(pools=TWO_BLOCKS, folder=house.folder, monitoring=True) as client:
        _two_managers(client)
        graph = Graph(client, tmp_path / "marks", width=20)
        for round_ in range(20 if size is Size.FULL else 1):
            start = len(graph.futures)
            graph.grow(20)
            wait_until("one of them ended", graph.futures[start].done, bool)
            (one, *_) = wait_until("there is one", parts[stopped], bool)
            with _stopped(one):
                graph.grow(5)
                (other, *_) = wait_until("there is the other", parts[killed], bool)
                kill(other)
                time.sleep(LEASE * (1.5 if round_ % 2 == 0 else 0.2))
            assert [future.result(WITHIN) for future in graph.futures] == graph.expected()
    assert set(times_recorded(house.folder).values()) == {1}
    assert set(executions(tmp_path / "marks")) == set(range(len(graph.futures)))


def test_while_the_interchange_is_silent_explain_says_so(house: House) -> None:
    with Client.local(workers=1, folder=house.folder), Client.connect(house.folder, timeout=LEASE) as client:
        future = client.submit(time.sleep, 0)
        (interchange,) = house.interchanges()
        with _stopped(interchange):
            sentence = client.submit(time.sleep, 0).explain()
            assert "is pending, as far as this process has heard. The interchange has not answered for 3 s" in sentence
            assert "its log says what is wrong" in sentence
        assert future.result(WITHIN) is None


def test_a_stopped_interchange_ends_no_lease(house: House, tmp_path: Path) -> None:
    with Client.local(pools=TWO_BLOCKS, folder=house.folder) as client:
        _two_managers(client)
        futures = client.options(idempotent=False).starmap(
            _slow, ((str(tmp_path / "marks"), number) for number in range(30))
        )
        wait_until("two tasks ended", lambda: sum(future.done() for future in futures), lambda ended: ended >= 2)
        (interchange,) = house.interchanges()
        with _stopped(interchange):
            time.sleep(2 * LEASE)
        assert [future.result(WITHIN) for future in futures] == list(range(30))
        after = pool_status(client)
        assert (after.done, after.lost, after.late) == (30, 0, 0), after
        assert house.interchanges()[0].pid == interchange.pid
    assert set(times_recorded(house.folder).values()) == {1}
    assert max(executions(tmp_path / "marks").values()) == 1
