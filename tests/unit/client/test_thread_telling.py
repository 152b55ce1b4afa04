"""What a client on threads tells: the same records, of the same steps, as an interchange and its workers would.

The radio is the real one, the hub's bus a list.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import blockyard
from blockyard.errors import DependencyError, TaskTimeout
from blockyard.joining import join
from blockyard.managed import run_managed
from blockyard.options import Options
from blockyard.radios import Arrival, ThreadRadio
from blockyard.threading_engine import ThreadedEngine
from blockyard.threads.telling import Teller
from blockyard.wire.monitoring import (
    Artefact,
    ArtefactPart,
    Config,
    Event,
    Needs,
    Node,
    Run,
    Tasks,
    Tries,
    Try,
    TryState,
    WorkerTasks,
)

LONG = 30.0


class House:
    """An engine of two threads, its teller, and what that has told."""

    def __init__(self, folder: Path) -> None:
        self.arrivals: list[Arrival] = []
        radio = ThreadRadio()
        self.receiver = radio.create_receiver(run_dir=folder, bus=self)
        self.teller = Teller(radio.create_sender("threads"), 2, "mine")
        self.engine = ThreadedEngine(2, observer=self.teller)
        self.teller.start()

    def put(self, arrival: Arrival) -> bool:
        """As a bus."""
        self.arrivals.append(arrival)
        return True

    def refuse(self, radio: str, reason: str) -> None:
        """As a bus."""
        raise AssertionError(f"{radio}: {reason}")

    def records(self) -> list[object]:
        """All that was told, when nothing more will be."""
        self.engine.shutdown(wait=True, cancel_futures=False)
        assert self.teller.close()
        self.receiver.shutdown()
        return [record for arrival in self.arrivals for record in arrival.packet.records]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.engine.shutdown(wait=True, cancel_futures=True)
    made.teller.close()


def test_what_a_managed_task_ran_with_and_left_is_told_of_its_try(house: House, tmp_path: Path) -> None:
    def program(size: int) -> object:
        script = f"head -c {size} /dev/zero > left; echo done"
        spec = {
            "binary": ["sh", "-c", script],
            "fill": False,
            "directory": str(tmp_path),
            "step": "made",
            "echo": False,
        }
        blockyard.event("begun", size=size)
        return run_managed(spec | {"outputs": [{"name": "left", "path": "left"}]}, check=True).status.name

    future = house.engine.submit(Options(), program, (900_000,), {})
    assert str(future.result(LONG)) == "COMPLETED"
    records = house.records()
    (task,) = tries_of(records)
    configs = [one for one in records if isinstance(one, Config)]
    assert [(one.task & 0xFFFFFFFF, one.epoch, one.step) for one in configs] == [(task, 1, "made")] * 2
    assert [one.status for one in configs] == ["RUNNING", "COMPLETED"]
    (left,) = [one for one in records if isinstance(one, Artefact)]
    parts = [one for one in records if isinstance(one, ArtefactPart)]
    assert (left.name, left.size_bytes, sum(len(one.data) for one in parts)) == ("left", 900_000, 900_000)
    assert [one.kind for one in records if isinstance(one, Event)] == ["begun"]
    assert house.teller._bulk_bytes == 0


def tries_of(records: list[object]) -> dict[int, list[Try]]:
    """By the task's number within the session, in the order in which they were told."""
    found: dict[int, list[Try]] = {}
    for record in records:
        for one in record.tries if isinstance(record, Tries) else ():
            found.setdefault(one.task & 0xFFFFFFFF, []).append(one)
    return found


def raises(number: int) -> None:
    raise ValueError(f"number {number}")


def test_tasks_their_tries_and_who_ran_them_are_told(house: House) -> None:
    futures = house.engine.submit_items(Options(name="powers", tags=("a",)), abs, [-1, -2, -3])
    assert [future.result(LONG) for future in futures] == [1, 2, 3]
    records = house.records()
    tasks = [record for record in records if isinstance(record, Tasks)]
    assert sum(one.count for one in tasks) == 3
    assert {(one.run, one.pool, one.function, one.name, *one.tags) for one in tasks} == {
        ("mine", "default", "abs", "powers", "a")
    }
    for one in tries_of(records).values():
        assert [(each.state, each.epoch, each.is_last) for each in one] == [(TryState.DONE, 1, True)]
        assert one[0].queued_us <= one[0].assigned_us
    uses = [use for record in records if isinstance(record, WorkerTasks) for use in record.uses]
    assert len(uses) == 3
    assert all(use.ended_us >= use.began_us for use in uses)
    assert [(one.state, one.workers) for one in records if isinstance(one, Node)] == [("joined", 2), ("gone", 2)]
    began, ended = [record for record in records if isinstance(record, Run)]
    assert began.session == ended.session
    assert began.began_us <= ended.ended_us


def test_a_retry_a_failure_and_those_who_waited_for_it(house: House) -> None:
    failing = house.engine.submit(Options(retries=1), raises, (7,), {})
    waiting = house.engine.submit(Options(), abs, (failing,), {})
    with pytest.raises(DependencyError):
        waiting.result(LONG)
    records = house.records()
    tries = tries_of(records)
    assert [(one.epoch, one.state, one.is_last, one.kind, one.message) for one in tries[1]] == [
        (1, TryState.RAISED, False, "builtins.ValueError", "number 7"),
        (2, TryState.RAISED, True, "builtins.ValueError", "number 7"),
    ]
    assert [(one.epoch, one.state, one.is_last) for one in tries[2]] == [(0, TryState.DEPENDENCY, True)]
    assert tries[1][1].queued_us >= tries[1][0].assigned_us, "the second try was not queued with the first"
    (needs,) = [record for record in records if isinstance(record, Needs)]
    assert needs.needs == [[needs.first - 1]]


def test_a_task_that_leaves_calls_ends_after_them(house: House) -> None:
    assert house.engine.submit(Options(), join, (abs, [-1, -2]), {}).result(LONG) == [1, 2]
    records = house.records()
    tries = tries_of(records)
    assert [(one.epoch, one.state, one.is_last) for one in tries[1]] == [
        (1, TryState.JOIN, False), (0, TryState.DONE, True),
    ]  # fmt: skip
    parents = {one.parent & 0xFFFFFFFF for one in records if isinstance(one, Tasks)}
    assert parents == {0, 1}


def test_cancelled_late_and_running_tasks(house: House) -> None:
    gate = threading.Event()
    blockers = house.engine.submit_items(Options(), lambda _: gate.wait(LONG), [1])
    late = house.engine.submit(Options(timeout=0.05), lambda: gate.wait(LONG), (), {})
    waiting = house.engine.submit(Options(), abs, (-1,), {})
    assert waiting.cancel()
    with pytest.raises(TaskTimeout):
        late.result(LONG)
    while not any(isinstance(record, Tries) and record.tries[0].state is TryState.RUNNING
                  for arrival in list(house.arrivals) for record in arrival.packet.records):  # fmt: skip
        assert not blockers[0].done()
        threading.Event().wait(0.05)
    gate.set()
    tries = tries_of(house.records())
    assert [one.state for one in tries[1]] == [TryState.RUNNING, TryState.DONE]
    assert [one.state for one in tries[2]] == [TryState.TIMEOUT]
    assert [(one.epoch, one.state) for one in tries[3]] == [(0, TryState.CANCELLED)]


def test_what_the_program_says_is_told_with_its_run(house: House) -> None:
    assert house.teller.say(1, "program", "")
    events = [record for record in house.records() if isinstance(record, Event)]
    assert [(one.kind, one.subject) for one in events] == [("program", "mine")]
    assert not house.teller.say(2, "too late", "")
