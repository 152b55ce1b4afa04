"""A run of managed programs while interchange, managers and workers are killed: each result once, no record lost."""

import functools
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from blockyard import Client
from blockyard.workflow.building import Workflow
from tests.integration.chaos.journal import times_recorded
from tests.integration.chaos.killer import Target, strike
from tests.integration.processes import WITHIN, House, wait_until
from tests.machine import Size

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

TARGETS = (Target.INTERCHANGE, Target.MANAGER, Target.WORKER)


def collect(numbers: list[int]) -> list[int]:
    """What all of them declared."""
    return numbers


def test_every_step_is_recorded_once_and_what_it_ran_with_is_known(house: House, tmp_path: Path, size: Size) -> None:
    """Small: 12 programs and 3 kills; full: 200 programs and 50 kills."""
    count, kills = (200, 50) if size is Size.FULL else (12, 3)
    dice = random.Random(11)
    targets = [*TARGETS, *dice.choices(TARGETS, k=kills - len(TARGETS))]
    dice.shuffle(targets)
    marks, history = tmp_path / "marks", tmp_path / "history.db"
    flow = Workflow("killed")
    script = f"echo $0 >>{marks}; sleep 0.3; echo '{{\"n\": '$0'}}' >$BLOCKYARD_OUTPUTS"
    programs = [
        flow.step(["bash", "-c", script, str(number)], step=f"p{number}", options={"outputs": ["n"]})
        for number in range(count)
    ]
    flow.step(collect, step="all", numbers=[one.output("n") for one in programs])

    def have_begun(least: int) -> bool:
        return marks.exists() and len(marks.read_text().split()) >= least

    with Client.local(workers=2, folder=house.folder, monitoring=f"sqlite:///{history}") as client:
        everything = client.run(flow).future("all")
        for place, target in enumerate(targets):
            least = place * count // kills + 1
            wait_until(f"{least} programs began", functools.partial(have_begun, least), bool, 4 * WITHIN)
            strike(house, target, dice)
        assert everything.result(10 * WITHIN) == list(range(count))
        wait_until("nothing runs any more", lambda: asked(history, _RUNNING), lambda found: found == [(0,)])
    assert set(times_recorded(house.folder).values()) == {1}
    steps = dict(asked(history, "SELECT step, count(*) FROM config WHERE status = 'COMPLETED' GROUP BY step"))
    assert set(steps) == {f"p{number}" for number in range(count)}
    assert asked(history, _UNKNOWN) == [(0,)], "a program whose result counts has no whole record"
    assert {row[0] for row in asked(history, "SELECT DISTINCT status FROM config")} <= {"COMPLETED", "LOST"}


_RUNNING = "SELECT count(*) FROM config WHERE status NOT IN ('COMPLETED', 'LOST')"
_UNKNOWN = """
SELECT count(*) FROM tries t JOIN submissions s ON s.first = t.submission
WHERE t.is_last = 1 AND t.state = 0 AND s.name <> 'all'
  AND NOT EXISTS (SELECT 1 FROM configs c WHERE c.task = t.task AND c.epoch = t.epoch AND c.status = 'COMPLETED')
"""


def asked(history: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the history."""
    with sqlite3.connect(f"file:{history}?mode=ro", uri=True, timeout=30) as connection:
        return connection.execute(sql).fetchall()
