"""What is said of why a task waits, where its last try was, and whether its output can still be read there."""

from collections.abc import Callable

import msgspec
import pytest

from blockyard.wire import client as client_wire
from blockyard.wire import control
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Failure, Status
from tests.unit.interchange.builders import Bench, Client, Manager, a_spec, done, ended

GONE = "what it printed there can't be read any more"


def told(client: Client, task: int) -> control.TaskIs:
    """The answer to a question about a task."""
    return client.ask(control.Task(task), control.TaskIs)


def ran(bench: Bench, status: Status) -> tuple[Client, Manager, int]:
    """A task that ended so on a manager of block-1."""
    client, manager = bench.client(keep=True, run="r"), bench.manager(block="block-1", node="here")
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    manager.report(done(one) if status is Status.DONE else ended(one, status, "builtins.ValueError"))
    bench.turn()
    return client, manager, task


@pytest.mark.parametrize("status", [Status.DONE, Status.RAISED, Status.TIMEOUT])
def test_a_task_that_ended_names_its_manager_and_says_when_that_is_gone(status: Status) -> None:
    bench = Bench()
    client, manager, task = ran(bench, status)
    found = told(client, task)
    assert found.line.block == "block-1"
    assert found.sentences[-1] == "Its last try was with the manager on here in block block-1."
    manager.say(manager_wire.Leave("enough"))
    bench.turn()
    assert found.line == told(client, task).line
    assert told(client, task).sentences[-1].endswith(f"in block block-1, which is gone: {GONE}.")


def test_a_task_given_up_with_its_manager_says_so_too() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(block="block-1")
    (task,) = client.call(a_spec(idempotent=False))
    bench.turn()
    manager.assigned()
    client.ask(control.BlockGone(["block-1"], "killed"), control.Done)
    bench.turn()
    assert told(client, task).line.status == "LOST"
    assert GONE in told(client, task).sentences[-1]


def test_after_a_restart_it_is_said_that_the_manager_is_not_known() -> None:
    bench = Bench()
    client, manager, task = ran(bench, Status.DONE)
    bench.restart()
    client.say(client.hello)
    manager.back()
    bench.turn()
    assert "is not known any more" in told(client, task).sentences[-1]
    assert told(client, task).line.block == ""


def cancelled(client: Client) -> int:
    (task,) = client.call()
    client.say(client_wire.Cancel([task]))
    return task


def needs_what_failed(client: Client) -> int:
    (first,) = client.call()
    (second,) = client.call(needs=[[first]])
    client.say(client_wire.Cancel([first]))
    return second


@pytest.mark.parametrize("ends", [cancelled, needs_what_failed])
def test_a_task_that_never_ran_has_no_place(ends: Callable[[Client], int]) -> None:
    bench = Bench()
    client = bench.client()
    task = ends(client)
    bench.turn()
    found = told(client, task)
    assert found.line.status in ("CANCELLED", "DEPENDENCY")
    assert len(found.sentences) == 1, found.sentences


def test_a_task_that_waits_says_for_what() -> None:
    bench = Bench()
    client = bench.client()
    (task,) = client.call()
    bench.turn()
    assert "has no manager yet; 1 task is queued." in told(client, task).sentences[0]
    said = "exit code 3; the last line of its log: No module named 'nowhere'"
    reports = [
        control.BlockReport("default-1", "FAILED", ended_at=1.0),
        control.BlockReport("default-2", "MISSING", message=said, ended_at=2.0),
        control.BlockReport("default-3", "PENDING"),
    ]
    client.ask(control.ReportBlocks("default", reports), control.Done)
    assert (
        told(client, task)
        .sentences[0]
        .endswith(f"Its block default-2 ended as MISSING: {said}. Mend that; further blocks are tried by themselves.")
    )
    manager = bench.manager(workers=4, cores=4.0)
    bench.turn()
    client.call(bodies=[b"x"] * 2000)
    bench.turn()
    (narrow,) = client.call()
    (wide,) = client.call(a_spec(cores=3.0))
    bench.turn()
    assert "All 4 workers of pool 'default' are busy" in told(client, narrow).sentences[0]
    assert "It takes 3 workers of one manager together" in told(client, wide).sentences[0]
    client.ask(control.Drain([manager.join.block], 1.0), control.Done)
    assert told(client, wide).sentences[0] == "All managers of pool 'default' are leaving; it waits for others."


def test_a_task_that_travels_behind_another_says_that_it_waits_for_that_one() -> None:
    bench = Bench()
    client, manager = bench.client(), bench.manager(block="block-1", node="here")
    first, second = client.call(bodies=[b"x"] * 2, needs=[[], [client.task(client.next)]])
    bench.turn()
    assert [one.task for one in manager.assigned()] == [first, second]
    (said,) = told(client, second).sentences
    assert said.startswith("It waits for 1 of the 1 tasks that it needs: "), said
    assert said.endswith(" It is already with the manager on here in block block-1, to run as soon as they have ended.")
    assert told(client, first).sentences == ["It is with the manager on here in block block-1, to run next or running."]


def test_what_was_seen_comes_last_behind_whole_sentences() -> None:
    bench = Bench()
    client, manager = bench.client(keep=True, run="r"), bench.manager(block="block-1", node="here")
    (task,) = client.call()
    bench.turn()
    (one,) = manager.assigned()
    failure = Failure("ValueError: no 3", ["builtins.ValueError"], "about to fail\n")
    manager.report(msgspec.structs.replace(ended(one, Status.RAISED), failure=failure))
    bench.turn()
    assert told(client, task).sentences == [
        "It ended as RAISED: ValueError: no 3.",
        "Its last try was with the manager on here in block block-1.",
        "Seen: about to fail",
    ]
