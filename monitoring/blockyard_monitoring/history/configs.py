"""What managed tasks ran with, and which of them were lost."""

from contextlib import closing
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, column, func, select, table

from blockyard.runs import ProgramSummary
from blockyard.wire.monitoring import TryState
from blockyard_monitoring.history.reading import History
from blockyard_monitoring.history.shapes import name_of, of_run, submissions, tries
from blockyard_monitoring.sinks.sql import tables
from blockyard_monitoring.sinks.sql.rows import signed

_WELL: Final = ("COMPLETED", "SKIPPED")
_MOST: Final = 1000
"""That are listed of one task: the last."""
_MOST_STEPS: Final = 10_000
"""Among which the nearest is looked for."""


class ConfigLine(msgspec.Struct, frozen=True, kw_only=True):
    """A managed task in a list. `status`: ``LOST`` when its try ended and it did not say how it ended."""

    config_id: str
    task_id: str
    run_id: str
    step: str
    name: str
    status: str
    reason: str
    message: str
    started_us: int
    exit_code: int | None
    signal: int | None


view = table("config", *(column(name) for name in (*ConfigLine.__struct_fields__, "task", "record")))
_LINE: Final = [view.c[name] for name in ConfigLine.__struct_fields__]


class Told(msgspec.Struct, frozen=True):
    """A record, and how its task stands as far as the history knows: ``LOST`` is what no record says of itself."""

    status: str
    reason: str
    message: str
    record: str


def of_step(url: str, run: str, step: str) -> list[Told]:
    """The records of a run's step, oldest first. Raises HistoryAway."""
    return _records(url, and_(view.c.run_id == run, view.c.step == step))


def steps(url: str, run: str) -> list[str]:
    """The steps of a run that have records. Raises HistoryAway."""
    query = select(view.c.step).distinct().where(view.c.run_id == run).limit(_MOST_STEPS)
    with closing(History(url, connections=1)) as history, history.connection() as connection:
        return list(connection.execute(query).scalars())


def of_task(url: str, task: int) -> list[Told]:
    """The records of a task, oldest first. Raises HistoryAway."""
    return _records(url, view.c.task == signed(task))


def of_task_in_short(url: str, task: int) -> list[ConfigLine]:
    """How those of a task stand, oldest first; without their records, which may be large. Raises HistoryAway."""
    with closing(History(url, connections=1)) as history, history.connection() as connection:
        return lines(connection, signed(task))


def lines(connection: Connection, task: int) -> list[ConfigLine]:
    """Those of a task, by its number in the database; oldest first."""
    found = connection.execute(
        select(*_LINE).where(view.c.task == task).order_by(view.c.started_us.desc()).limit(_MOST)
    )
    return [ConfigLine(**row._mapping) for row in found][::-1]


def unwell(connection: Connection, run: str, limit: int) -> list[ProgramSummary]:
    """Those that did not complete of tasks that are done all the same: they returned it. The most frequent first."""
    row, count = tables.configs.c, func.count(tables.configs.c.task.distinct())
    kind = (row.status, row.reason, row.name)
    query = select(*kind, func.max(row.message), count, func.max(row.task)).group_by(*kind)
    found = connection.execute(_unwell(query, run).order_by(count.desc(), *kind).limit(limit))
    return [
        ProgramSummary(status=status, reason=reason, name=name, message=message, count=number, task=name_of(task))
        for status, reason, name, message, number, task in found
    ]


def count_unwell(connection: Connection, run: str) -> int:
    """How many tasks of a run are done, and had a managed task that did not complete."""
    query = _unwell(select(func.count(tables.configs.c.task.distinct())), run)
    return int(connection.execute(query).scalar_one())


def _unwell(query: "Select[Any]", run: str) -> "Select[Any]":
    row = tables.configs.c
    return (
        query.join(tries, and_(tries.c.task == row.task, tries.c.epoch == row.epoch))
        .join(submissions, submissions.c.first == tries.c.submission)
        .where(of_run(run), tries.c.state == int(TryState.DONE), tries.c.is_last == 1)
        .where(row.ended_us > 0, row.status.not_in(_WELL))
    )


def _records(url: str, where: ColumnElement[bool]) -> list[Told]:
    told = [view.c[name] for name in Told.__struct_fields__]
    query = select(*told).where(where).order_by(view.c.started_us, view.c.config_id)
    with closing(History(url, connections=1)) as history, history.connection() as connection:
        return [Told(*row) for row in connection.execute(query)]
