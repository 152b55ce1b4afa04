"""Somebody sets the clock while a system works. It goes by the monotonic clock: nothing is early, late, lost or twice.

The clock of this machine is everybody's, so what is set is the one that the processes of the system see: a module that
Python imports at start (`sitecustomize`) adds the hours in a file to `time.time` and `time.time_ns`.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import TaskTimeout
from tests.integration.chaos.journal import times_recorded
from tests.integration.chaos.workload import Graph, executions
from tests.integration.processes import WITHIN, House, kill, wait_until
from tests.integration.questions import pool_status

pytestmark = pytest.mark.timeout(300)

SITECUSTOMIZE = """
import time
_time, _time_ns = time.time, time.time_ns
def _seconds():
    with open({path!r}) as file:
        return int(file.read() or 0) * 3600
time.time = lambda: _time() + _seconds()
time.time_ns = lambda: _time_ns() + _seconds() * 10**9
"""
JUMPS = (+30, -50, +7)
"""Hours."""

SetClock = Callable[[int], None]


@pytest.fixture
def set_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the clock of all that is started from here on so many hours ahead of this process's."""
    offset = tmp_path / "hours"
    offset.write_text("0")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.format(path=str(offset)))
    monkeypatch.syspath_prepend(str(folder))  # the module search path of this process is its children's

    def set_to(hours: int) -> None:
        draft = tmp_path / "draft"
        draft.write_text(str(hours))
        draft.replace(offset)

    return set_to


@pytest.fixture
def client(house: House, set_clock: SetClock) -> Iterator[Client]:
    """Two workers that see the other clock."""
    with Client.local(workers=2, folder=house.folder) as client:
        set_clock(100)
        assert client.submit(time.time).result(WITHIN) > time.time() + 99 * 3600, (
            "its clock can be set, or this shows nothing"
        )
        set_clock(0)
        yield client


def test_no_task_is_lost_or_run_late_by_a_clock_that_is_set(
    client: Client, house: House, set_clock: SetClock, tmp_path: Path
) -> None:
    graph = Graph(client, tmp_path / "marks", width=50)
    patient = client.options(deadline=1800.0, timeout=1800.0).submit(time.sleep, 1.0)
    for hours in JUMPS:
        graph.grow(5)
        wait_until("one of them ended", graph.futures[-50].done, bool)
        set_clock(hours)
        graph.grow(5)
    assert patient.result(WITHIN) is None, "half an hour has not gone by"
    with pytest.raises(TaskTimeout):
        client.options(timeout=0.3).submit(time.sleep, 600).result(WITHIN)
    assert [future.result(WITHIN) for future in graph.futures] == graph.expected()
    status = pool_status(client)
    assert (status.lost, status.late, status.managers) == (0, 0, 1), status


@pytest.mark.parametrize("hours", [+30, -30])
def test_a_restart_under_another_date_goes_on_where_it_was(
    client: Client, house: House, set_clock: SetClock, tmp_path: Path, hours: int
) -> None:
    graph = Graph(client, tmp_path / "marks", width=50)
    graph.grow(10)
    wait_until("one of them ended", graph.futures[0].done, bool)
    set_clock(hours)
    wait_until("the interchange is killed", lambda: [one for one in house.interchanges() if kill(one)], bool)
    graph.grow(10)
    assert [future.result(WITHIN) for future in graph.futures] == graph.expected()
    client.shutdown()
    assert set(times_recorded(house.folder).values()) <= {1}
    assert set(executions(tmp_path / "marks")) == set(range(1000))
