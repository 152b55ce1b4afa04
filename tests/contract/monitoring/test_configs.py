"""What the sql sink makes of managed tasks, in any order and however often; and what it says of those that were lost.

Out of scope: how the records get there (`tests/integration/managed/test_provenance.py`).
"""

import base64
import itertools
from collections.abc import Callable

import msgspec
import pytest

from blockyard.cli.exits import Exit
from blockyard.cli.rim import run
from blockyard.ids import TaskId, task_name
from blockyard.wire.monitoring import AnyRecord, Artefact, ArtefactPart, Config, Run, TryState
from blockyard_monitoring.history import configs
from blockyard_monitoring.history.summary import summarise
from blockyard_monitoring.report import report
from blockyard_monitoring.sinks.sql import SqlSink
from tests.contract.monitoring.databases import Database
from tests.contract.monitoring.test_expiry import DAY, swept
from tests.unit.monitoring.messages import AT, a_try, an_arrival, some_tasks, some_tries

Opened = Callable[[], SqlSink]
TASK, EPOCH = 1 << 32, 1 << 20


def a_config(status: str = "RUNNING", ended_us: int = 0, **fields: object) -> Config:
    """A start, or an end."""
    given: dict[str, object] = {
        "id": "ab12", "task": TASK, "epoch": EPOCH, "name": "index", "run": "", "step": "peaks", "status": status,
        "reason": "", "started_us": AT, "ended_us": ended_us, "exit_code": 0 if ended_us else None, "signal": None,
        "body": f'{{"status": "{status}\\t\\u0000"}}',
    }  # fmt: skip
    return Config(**(given | fields))  # type: ignore[arg-type]


START, END = a_config(), a_config("COMPLETED", AT + 5)


@pytest.mark.parametrize("order", [*itertools.permutations([START, END]), (START, END, START), (END, END, START)])
@pytest.mark.parametrize("together", [True, False])
def test_start_and_end_are_one_row_whatever_comes_first_or_twice(
    opened: Opened, database: Database, order: tuple[Config, ...], together: bool
) -> None:
    sink = opened()
    if together:
        sink.write([an_arrival(*order)])
    else:
        for number, one in enumerate(order, 1):
            sink.write([an_arrival(one, number=number)])
    assert database.ask("SELECT status, ended_us, exit_code, record FROM configs") == [
        ("COMPLETED", AT + 5, 0, END.body)
    ]


def test_a_start_whose_try_was_lost_says_so_and_one_that_goes_on_does_not(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write([an_arrival(Run(1, "nightly"), some_tasks(count=2), a_config(), a_config(id="cd34", task=TASK + 1))])
    found = 'SELECT config_id, status, reason, time_ended IS NULL, message FROM "config" ORDER BY 1'
    assert [row[:3] for row in database.ask(found)] == [("ab12", "RUNNING", ""), ("cd34", "RUNNING", "")]
    sink.write([an_arrival(some_tries(state=TryState.LOST, is_last=False, message="its node is gone"), number=2)])
    lost, alive = database.ask(found)
    assert lost[:3] == ("ab12", "LOST", "NoEnd"), "a reason is a word"
    assert (bool(lost[3]), lost[4]) == (False, "its node is gone")
    assert configs.of_task(database.url, TASK) == [configs.Told("LOST", "NoEnd", "its node is gone", START.body)]
    assert alive[1] == "RUNNING"
    sink.write([an_arrival(END, number=3)])  # by a radio of its own, it comes after the outcome
    assert database.ask(found)[0][1] == "COMPLETED"
    (told,) = configs.of_step(database.url, "nightly", "peaks")
    assert told.record == END.body, "the run is its submission's"
    assert configs.of_task(database.url, TASK + 1) == [configs.Told("RUNNING", "", "", START.body)]


def test_the_step_that_was_meant_is_named(
    opened: Opened, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    more = a_config(id="cd34", task=TASK + 1, step="index")
    opened().write([an_arrival(Run(1, "nightly"), some_tasks(count=2), some_tries(count=2), END, more)])
    assert run(["config", "nightly", "peaks2", "--database", database.url]) == Exit.NOT_FOUND
    assert (
        "nightly peaks2: the history knows of no managed task there; did you mean 'peaks'? " in capsys.readouterr().err
    )
    assert run(["config", "nightly", "x", "--database", database.url]) == Exit.NOT_FOUND
    assert "there; there are: index, peaks. Without" in capsys.readouterr().err
    assert run(["config", "nigthly", "x", "--database", database.url]) == Exit.NOT_FOUND
    assert "there. Without" in capsys.readouterr().err


def test_why_a_task_ended_so_is_a_word_and_a_sentence(opened: Opened, database: Database) -> None:
    sink = opened()
    sink.write([an_arrival(a_config("FAILED", AT + 5, reason="ExitCode", message="exit code 3"))])
    assert database.ask('SELECT reason, message FROM "config"') == [("ExitCode", "exit code 3")]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("status", ["RUNNING", "STOPPED"])
def test_how_far_a_task_is_changes_nothing_else_of_it(
    opened: Opened, database: Database, status: str, together: bool
) -> None:
    """It travels by itself, and so may come late."""
    sink, start, far = opened(), a_config(status), a_config(body="", message="50 %: half of the frames")
    for number, told in enumerate([[start, far]] if together else [[start], [far]], 1):
        sink.write([an_arrival(*told, number=number)])
    found = "SELECT status, message, record FROM configs"
    assert database.ask(found) == [(status, "50 %: half of the frames", start.body)]
    sink.write([an_arrival(END, number=3)])
    sink.write([an_arrival(far, number=4)])
    assert database.ask(found) == [("COMPLETED", "", END.body)]


@pytest.mark.parametrize("together", [True, False])
def test_a_start_that_comes_after_how_far_the_task_is_leaves_that(
    opened: Opened, database: Database, together: bool
) -> None:
    sink, far = opened(), a_config(body="", message="50 %")
    for number, told in enumerate([[far, START]] if together else [[far], [START]], 1):
        sink.write([an_arrival(*told, number=number)])
    assert database.ask("SELECT status, message, record FROM configs") == [("RUNNING", "50 %", START.body)]


def test_a_task_that_is_done_and_whose_program_failed_is_shown_as_both(opened: Opened, database: Database) -> None:
    sink, bad = opened(), {"reason": "ExitCode", "message": "exit code 3"}
    first, second, third, fourth = (TASK + place for place in range(4))
    managed = [
        a_config("FAILED", AT + 5, id="1", task=first, **bad),
        a_config("FAILED", AT + 5, id="2", task=first, **bad),  # a second program of the same task
        a_config("COMPLETED", AT + 5, id="3", task=second),
        a_config("TIMEDOUT", AT + 5, id="4", task=second, reason="Timeout", message="it ran longer than 1 s"),
        a_config("SKIPPED", AT + 5, id="5", task=third, reason="TaskSkipped"),
        a_config("FAILED", AT + 5, id="6", task=fourth, **bad),
    ]
    raised = a_try(fourth, state=TryState.RAISED, kind="blockyard.managed.records.ManagedTaskFailed")
    done: list[AnyRecord] = [
        some_tasks(count=4),
        some_tries(count=3),
        msgspec.structs.replace(some_tries(), tries=[raised]),
    ]
    sink.write([an_arrival(Run(1, "nightly"), *done, *managed)])
    found = summarise(database.url, "nightly")
    assert (found.done, found.done_unwell, found.failed) == (3, 2, 1)
    assert [(one.status, one.reason, one.message, one.count) for one in found.programs] == [
        ("FAILED", "ExitCode", "exit code 3", 1), ("TIMEDOUT", "Timeout", "it ran longer than 1 s", 1),
    ]  # fmt: skip
    assert found.programs[0].task == task_name(TaskId(first))
    text = report(database.url, "nightly", "markdown")
    assert "3 done (2 of them with a program that did not complete), 1 failed" in text
    assert "| TIMEDOUT | Timeout | index | 1 |" in text
    assert "it ran longer than 1 s" in report(database.url, "nightly", "html")


def test_what_tasks_left_is_kept_once_by_content_and_goes_with_them(opened: Opened, database: Database) -> None:
    sink = opened()
    content = [ArtefactPart("5a", part, AT, bytes([part]) * 9) for part in range(2)]
    left = [
        Artefact(f"c{task}", task, EPOCH, "plot", "figure", "image/png", "/x", 18, "5a", 2, AT)
        for task in (TASK, 2 * TASK)
    ]  # fmt: skip
    old: list[AnyRecord] = [Run(1, "a", began_us=AT, ended_us=AT + 1), some_tasks(), some_tries(), left[0], *content]
    new: list[AnyRecord] = [
        Run(2, "b", began_us=AT, ended_us=AT + 1),
        some_tasks(2 * TASK),
        some_tries(2 * TASK),
        left[1],
        *content,
    ]
    sink.write([an_arrival(*old, a_config()), an_arrival(*new, number=2)])
    assert database.ask("SELECT base64 FROM artefact_parts ORDER BY part") == [
        (base64.b64encode(bytes([part]) * 9).decode(),) for part in range(2)
    ]
    database.do(f"UPDATE submissions SET submitted_us = {AT + 40 * DAY} WHERE first = {2 * TASK}")
    gone, _ = swept(database, AT + DAY)
    assert (gone["artefacts"], gone["configs"], gone["artefact_parts"]) == (1, 1, 0), "another has the same content"
    database.do(f"UPDATE submissions SET submitted_us = {AT} WHERE first = {2 * TASK}")
    assert swept(database, AT + DAY)[0]["artefact_parts"] == 2
