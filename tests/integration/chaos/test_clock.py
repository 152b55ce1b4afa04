"""Somebody sets the clock while a system works. It goes by the monotonic clock: nothing is early, late, lost or twice.

The clock of this machine is everybody's, so what is set is the one that the processes of the system see: a module that
Python imports at start (`sitecustomize`) adds the hours in a file to `time.time` and `time.time_ns`. Each kind of
process has its own file, as each machine has its own clock. (libfaketime, which could do it for a whole program, alters
what `clock_nanosleep` means, too: `time.sleep` of Python 3.11 raises EINVAL once a clock was set.)
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.errors import TaskTimeout
from blockyard.monitoring import Monitoring
from tests.integration.chaos.journal import times_recorded
from tests.integration.chaos.workload import Graph, executions, mark
from tests.integration.processes import WITHIN, House, kill, wait_until
from tests.integration.questions import pool_status

pytestmark = pytest.mark.timeout(300)

SITECUSTOMIZE = """
import sys, time
_time, _time_ns = time.time, time.time_ns
_mine = next((one for one in {kinds!r} if any(one in word for word in sys.orig_argv)), "other")
def _seconds():
    with open({path!r} + "/" + _mine) as file:
        return int(file.read()) * 3600
time.time = lambda: _time() + _seconds()
time.time_ns = lambda: _time_ns() + _seconds() * 10**9
"""
KINDS = ("blockyard_interchange", "blockyard_monitoring", "blockyard_worker", "client")
"""Of processes: what their command names. The client is this one."""
YEARS = 10 * 365 * 24
JUMPS = (+1, -1, +YEARS)
"""Hours that a clock is ahead."""


class Clocks:
    """What each kind of process takes for the time."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._right = time.time
        self.set(0, KINDS)

    def set(self, hours: int, whose: Iterable[str] = KINDS) -> None:
        """So many hours ahead of the right time."""
        for kind in whose:
            draft = self._folder / "draft"
            draft.write_text(str(hours))
            draft.replace(self._folder / kind)
            if kind == "client":
                self._monkeypatch.setattr(time, "time", lambda: self._right() + hours * 3600)


@pytest.fixture
def clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """Those of this process, and of all that is started from here on."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "other").write_text("0")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.format(path=str(folder), kinds=KINDS))
    monkeypatch.syspath_prepend(str(folder))  # the module search path of this process is its children's
    return Clocks(folder, monkeypatch)


@pytest.fixture
def client(house: House, clocks: Clocks) -> Iterator[Client]:
    """Two workers that see the other clock, and a history that keeps a month."""
    with Client.local(workers=2, folder=house.folder, monitoring=Monitoring(keep_days=30)) as client:
        clocks.set(100, ["blockyard_worker"])
        assert client.submit(_what_time_is_it).result(WITHIN) > time.time() + 99 * 3600, (
            "its clock can be set, or this shows nothing"
        )
        clocks.set(0, ["blockyard_worker"])
        yield client


@pytest.mark.parametrize("whose", [*([kind] for kind in KINDS), KINDS], ids=[*KINDS, "all"])
def test_no_task_is_lost_or_run_late_by_a_clock_that_is_set(
    client: Client, house: House, clocks: Clocks, tmp_path: Path, whose: Sequence[str]
) -> None:
    graph = Graph(client, tmp_path / "marks", width=50)
    patient = client.options(deadline=1800.0, timeout=1800.0).submit(time.sleep, 1.0)
    again = client.options(retries=20, backoff=0.01, key="again").submit(_third_time, str(tmp_path / "times"))
    twin = client.options(key="again").submit(_third_time, str(tmp_path / "never"))
    for hours in JUMPS:
        graph.grow(5)
        wait_until("one of them ended", graph.futures[-50].done, bool)
        clocks.set(hours, whose)
        graph.grow(5)
    assert patient.result(WITHIN) is None, "half an hour has not gone by"
    assert again.result(WITHIN) == 3
    assert twin.result(WITHIN) == 3, "its key is that of the other"
    slow = client.submit(time.sleep, 600)
    with pytest.raises(TimeoutError):
        slow.result(0.2)
    assert slow.cancel()
    with pytest.raises(TaskTimeout):
        client.options(timeout=0.3).submit(time.sleep, 600).result(WITHIN)
    assert [future.result(WITHIN) for future in graph.futures] == graph.expected()
    status = pool_status(client)
    assert (status.lost, status.late, status.managers) == (0, 0, 1), status
    assert set(executions(tmp_path / "marks")) == set(range(len(graph.futures)))
    count = status.submitted
    wait_until("the history has them all", lambda: _in_the_history(house), lambda found: found == count)


def _what_time_is_it() -> float:
    return time.time()


def _third_time(path: str) -> int:
    """Fails two times."""
    mark(path, 0)
    times = sum(executions(Path(path)).values())
    if times < 3:
        raise LookupError
    return times


def _in_the_history(house: House) -> int:
    with contextlib.closing(sqlite3.connect(house.folder / "monitoring.db")) as history:
        ((count,),) = history.execute("SELECT count(DISTINCT task) FROM tries WHERE is_last = 1")
        return int(count)


@pytest.mark.parametrize("hours", [+30, -30])
def test_a_restart_under_another_date_goes_on_where_it_was(
    client: Client, house: House, clocks: Clocks, tmp_path: Path, hours: int
) -> None:
    graph = Graph(client, tmp_path / "marks", width=50)
    graph.grow(10)
    wait_until("one of them ended", graph.futures[0].done, bool)
    clocks.set(hours)
    wait_until("the interchange is killed", lambda: [one for one in house.interchanges() if kill(one)], bool)
    graph.grow(10)
    assert [future.result(WITHIN) for future in graph.futures] == graph.expected()
    client.shutdown()
    assert set(times_recorded(house.folder).values()) <= {1}
    assert set(executions(tmp_path / "marks")) == set(range(1000))
