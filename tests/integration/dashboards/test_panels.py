"""Every question of every panel is understood by a real Prometheus or PostgreSQL, and a real run answers it."""

import math
import time

import pytest

from blockyard.ids import parse_task_name
from tests.integration.dashboards.conftest import World
from tests.integration.dashboards.shipped import Question, dashboards, filled_in, questions
from tests.integration.processes import wait_until

pytestmark = [pytest.mark.needs_postgres, pytest.mark.needs_prometheus, pytest.mark.timeout(240)]

PATIENCE = 60.0
STEP_SECONDS = 2
QUESTIONS = list(questions())
IN_PROMQL = {"pool": "(default)", "__rate_interval": "10s", "__range": "120s"}


def in_sql(world: World) -> dict[str, str]:
    """What Grafana fills into SQL, when everything is chosen."""
    return {
        "pool": "'default'", "run": "SELECT run FROM sessions", "__from": str(int(world.began * 1000)),
        "__to": str(int(time.time() * 1000) + 1000), "__interval_ms": str(STEP_SECONDS * 1000),
    }  # fmt: skip


def answers_of_prometheus(world: World, question: Question) -> list[float]:
    """All numbers, of all series."""
    text = filled_in(question.text, IN_PROMQL)
    if question.is_series:
        found = world.prometheus.query_range(text, world.began, time.time(), STEP_SECONDS)
        return [float(value) for series in found for _, value in series["values"]]
    return [float(series["value"][1]) for series in world.prometheus.query(text)]


def answers_of_database(world: World, question: Question) -> list[object]:
    """What is in the rows, but for NULL and the time of a series."""
    rows = world.database.ask(filled_in(question.text, in_sql(world)))
    return [value for row in rows for value in row[question.is_series :] if value is not None]


@pytest.mark.parametrize("question", QUESTIONS, ids=[question.where for question in QUESTIONS])
def test_a_question_is_answered(world: World, question: Question) -> None:
    def answers() -> list[object]:
        if question.source == "prometheus":
            return [value for value in answers_of_prometheus(world, question) if math.isfinite(value)]
        return answers_of_database(world, question)

    wait_until(question.where, answers, bool, PATIENCE)


def test_variables_find_what_can_be_chosen(world: World) -> None:
    wait_until(
        "the pool is known",
        lambda: world.prometheus.label_values("pool", "blockyard_tasks"),
        lambda found: found == ["default"],
        PATIENCE,
    )
    for name, dashboard in dashboards().items():
        variables = {one["name"]: one for one in dashboard["templating"]["list"]}
        assert variables["pool"]["query"]["query"] == "label_values(blockyard_tasks, pool)", name
        if "run" in variables:
            text = filled_in(variables["run"]["query"], in_sql(world))
            assert len(world.database.ask(text)) == 1, name


def test_a_slow_try_can_be_found_by_its_bucket(world: World) -> None:
    def tasks() -> list[str]:
        found = world.prometheus.exemplars("blockyard_history_tries_ran_seconds_bucket", world.began, time.time())
        return [one["labels"]["task"] for series in found for one in series["exemplars"]]

    seen = wait_until("Prometheus has exemplars", tasks, bool, PATIENCE)
    number = parse_task_name(seen[-1])
    wait_until(
        "the history has that task",
        lambda: world.database.ask(f"SELECT task FROM tries WHERE task = {number}"),
        lambda found: found == [(number,)],
        PATIENCE,
    )
