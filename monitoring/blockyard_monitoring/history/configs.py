"""What managed tasks ran with, and which of them were lost."""

from contextlib import closing
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, column, select, table

from blockyard_monitoring.history.reading import History
from blockyard_monitoring.sinks.sql.rows import signed

_MOST: Final = 1000
"""That are listed of one task: the last."""


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


def of_task(url: str, task: int) -> list[Told]:
    """The records of a task, oldest first. Raises HistoryAway."""
    return _records(url, view.c.task == signed(task))


def lines(connection: Connection, task: int) -> list[ConfigLine]:
    """Those of a task, by its number in the database; oldest first."""
    found = connection.execute(
        select(*_LINE).where(view.c.task == task).order_by(view.c.started_us.desc()).limit(_MOST)
    )
    return [ConfigLine(**row._mapping) for row in found][::-1]


def _records(url: str, where: ColumnElement[bool]) -> list[Told]:
    told = [view.c[name] for name in Told.__struct_fields__]
    query = select(*told).where(where).order_by(view.c.started_us, view.c.config_id)
    with closing(History(url, connections=1)) as history, history.connection() as connection:
        return [Told(*row) for row in connection.execute(query)]
