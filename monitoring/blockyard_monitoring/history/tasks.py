"""Tasks: lists of them by filter, a page at a time, and all that is known of one."""

from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from blockyard.wire.monitoring import PRINTED
from blockyard_monitoring.history.shapes import (
    Page,
    in_state,
    label,
    name_of,
    of_run,
    page_of,
    stands_for_its_task,
    state_word,
    submissions,
    tries,
    uses,
)
from blockyard_monitoring.sinks.sql import tables

_LATEST: Final = 2000
"""Submissions that are looked at for tasks that wait."""
_MOST: Final = 200
"""Rows of each kind that belong to one task."""
_MOST_SAMPLES: Final = 1000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks; '' for any. `state` is a word of `shapes.STATES`, `function` a function's or a task's name."""

    run: str = ""
    pool: str = ""
    function: str = ""
    state: str = ""


class TaskLine(msgspec.Struct, frozen=True, kw_only=True):
    """A task, by the try that stands for it. Instants are microseconds UTC, 0: not yet; durations microseconds."""

    task: str
    label: str
    run: str
    pool: str
    state: str
    tries: int
    """That it has had; 0: it ended without any."""
    queued_us: int
    assigned_us: int
    told_us: int
    """When it ended; of one that has not, when it was heard of last."""
    ran_us: int
    manager: str
    kind: str
    message: str

    @property
    def has_ended(self) -> bool:
        """Not: it goes on."""
        return self.state not in ("assigned", "running")


class WaitingLine(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks submitted together of which some have not been tried."""

    first: str
    label: str
    run: str
    pool: str
    count: int
    waiting: int
    submitted_us: int


class TryLine(msgspec.Struct, frozen=True, kw_only=True):
    """One try, with what it used as far as its worker said."""

    number: int
    """Counts from 1; 0: the task ended without this being a try."""
    epoch: int
    state: str
    is_last: bool
    queued_us: int
    assigned_us: int
    began_us: int
    ended_us: int
    ran_us: int
    manager: str
    node: str
    block: str
    worker: int
    """-1: not told."""
    pid: int
    accelerators: str
    cpu_user_us: int
    cpu_system_us: int
    peak_bytes: int
    read_bytes: int
    written_bytes: int
    kind: str
    message: str
    evidence: str


class SampleLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a try used at one moment."""

    at_us: int
    cpu_us: int
    """Since the first sample of the try."""
    resident_bytes: int
    threads: int


class FileLine(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a try."""

    kind: str
    path: str
    size_bytes: int
    sha256: str
    way: str
    took_us: int


class TaskDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All about one task."""

    task: str
    label: str
    function: str
    function_hash: str
    name: str
    run: str
    pool: str
    session: int
    submitted_us: int
    tags: list[str]
    priority: int
    retries: int
    timeout_us: int
    parent: str
    tries: list[TryLine]
    samples: list[SampleLine]
    files: list[FileLine]
    needs: list[str]
    needed_by: list[str]
    """Of the same session."""


def tasks(
    connection: Connection, wanted: Wanted, behind: tuple[int, int] | None = None, limit: int = 100
) -> Page[TaskLine]:
    """Tasks that were tried or have ended, those heard of last first; behind the key of a page's last."""
    told, task = tries.c.returned_us, tries.c.task
    other = tables.tries.alias("other")
    had = select(func.count()).where(other.c.task == task, other.c.epoch > 0).scalar_subquery()
    query = (
        select(tries, label(), submissions.c.run, submissions.c.pool, had.label("had"))
        .join(submissions, submissions.c.first == tries.c.submission)
        .where(_wanted(wanted), stands_for_its_task())
        .order_by(told.desc(), task.desc())
        .limit(limit + 1)
    )
    if wanted.state:
        query = query.where(in_state(wanted.state))
    if behind is not None:
        at, number = behind
        query = query.where(told <= at, or_(told < at, and_(told == at, task < number)))
    found = connection.execute(query).all()
    return page_of([_line(row) for row in found], limit, [(row.returned_us, row.task) for row in found])


def waiting(connection: Connection, wanted: Wanted, limit: int = 20) -> list[WaitingLine]:
    """Submissions with tasks that were not tried yet, the latest first; the 2,000 latest are looked at."""
    latest = (
        select(submissions, label()).where(_wanted(wanted)).order_by(submissions.c.submitted_us.desc()).limit(_LATEST)
    ).subquery()
    tried = (
        select(func.count(func.distinct(tries.c.task)))
        .where(tries.c.submission == latest.c.first)
        .correlate(latest)
        .scalar_subquery()
    )
    counted = select(latest, tried.label("tried")).subquery()
    query = select(counted).where(counted.c.tried < counted.c.count).order_by(counted.c.submitted_us.desc())
    return [
        WaitingLine(
            first=name_of(row.first), label=row.label, run=row.run, pool=row.pool, count=row._mapping["count"],
            waiting=row._mapping["count"] - row.tried, submitted_us=row.submitted_us,
        )
        for row in connection.execute(query.limit(limit))
    ]  # fmt: skip


def task(connection: Connection, number: int) -> TaskDetail | None:
    """One task; None: the history knows nothing of it."""
    own = connection.execute(
        select(submissions, label()).where(submissions.c.first <= number).order_by(submissions.c.first.desc()).limit(1)
    ).first()
    if own is not None and own.first + own._mapping["count"] <= number:
        own = None  # the nearest one does not reach so far
    tried = _tries(connection, number)
    if own is None and not tried:
        return None
    told = own._mapping if own is not None else {}
    tags = msgspec.json.decode(told["tags"], type=list[str]) if told.get("tags") else []
    return TaskDetail(
        task=name_of(number),
        label=told.get("label", ""),
        function=told.get("function", ""),
        function_hash=told.get("function_hash", ""),
        name=told.get("name", ""),
        run=told.get("run", ""),
        pool=told.get("pool", ""),
        session=told.get("session", 0),
        submitted_us=told.get("submitted_us", 0),
        tags=tags,
        priority=told.get("priority", 0),
        retries=told.get("retries", 0),
        timeout_us=told.get("timeout_us", 0),
        parent=name_of(told["parent"]) if told.get("parent") else "",
        tries=tried,
        samples=_samples(connection, number),
        files=_files(connection, number),
        needs=_needs(connection, number),
        needed_by=_needed_by(connection, number),
    )


def _wanted(wanted: Wanted) -> ColumnElement[bool]:
    conditions = [of_run(wanted.run)]
    if wanted.pool:
        conditions.append(submissions.c.pool == wanted.pool)
    if wanted.function:
        conditions.append(or_(submissions.c.function == wanted.function, submissions.c.name == wanted.function))
    return and_(*conditions)


def _line(row: Row[Any]) -> TaskLine:
    return TaskLine(
        task=name_of(row.task), label=row.label, run=row.run, pool=row.pool, state=state_word(row.state),
        tries=row.had, queued_us=row.queued_us, assigned_us=row.assigned_us, told_us=row.returned_us,
        ran_us=row.ran_us, manager=row.manager, kind=row.kind, message=row.message,
    )  # fmt: skip


def _tries(connection: Connection, number: int) -> list[TryLine]:
    """Its tries, the first one first; times follow one another, whatever a worker's clock says."""
    node = tables.nodes.alias("n")
    place = (
        select(node.c.manager, func.max(node.c.node).label("node"), func.max(node.c.block).label("block"))
        .group_by(node.c.manager)
        .where(node.c.manager.in_(select(tries.c.manager).where(tries.c.task == number)))
        .subquery()
    )
    use = [
        uses.c.worker, uses.c.pid, uses.c.accelerators, uses.c.began_us, uses.c.ended_us, uses.c.cpu_user_us,
        uses.c.cpu_system_us, uses.c.peak_bytes, uses.c.read_bytes, uses.c.written_bytes,
    ]  # fmt: skip
    query = (
        select(tries, *use, place.c.node, place.c.block)
        .outerjoin(uses, and_(uses.c.task == tries.c.task, uses.c.epoch == tries.c.epoch))
        .outerjoin(place, place.c.manager == tries.c.manager)
        .where(tries.c.task == number)
        .order_by(tries.c.epoch)
        .limit(_MOST)
    )
    found = connection.execute(query).all()
    tried = [row for row in found if row.epoch]
    ends = [row for row in found if not row.epoch]
    return [*(_try(row, number) for number, row in enumerate(tried, 1)), *(_try(row, 0) for row in ends)]


def _try(row: Row[Any], number: int) -> TryLine:
    is_over = row.state >= 0
    ended = row.returned_us if is_over else 0
    began = max(row.assigned_us, row.returned_us - row.ran_us) if is_over else row.assigned_us
    if row.worker is not None and row.assigned_us <= row.began_us <= (ended or row.began_us):
        began = row.began_us
    if row.worker is not None and is_over and began <= row.ended_us <= row.returned_us:
        ended = row.ended_us
    return TryLine(
        number=number, epoch=row.epoch, state=state_word(row.state), is_last=bool(row.is_last), queued_us=row.queued_us,
        assigned_us=row.assigned_us, began_us=began if row.assigned_us else 0, ended_us=ended, ran_us=row.ran_us,
        manager=row.manager, node=row.node or "", block=row.block or "",
        worker=-1 if row.worker is None else row.worker, pid=row.pid or 0, accelerators=row.accelerators or "",
        cpu_user_us=row.cpu_user_us or 0, cpu_system_us=row.cpu_system_us or 0, peak_bytes=row.peak_bytes or 0,
        read_bytes=row.read_bytes or 0, written_bytes=row.written_bytes or 0,
        kind=row.kind, message=row.message, evidence=row.evidence,
    )  # fmt: skip


def _samples(connection: Connection, number: int) -> list[SampleLine]:
    table = tables.samples
    query = select(table).where(table.c.task == number).order_by(table.c.epoch, table.c.at_us).limit(_MOST_SAMPLES)
    first: dict[int, int] = {}  # CPU by epoch: that of the worker goes on from try to try
    found = []
    for row in connection.execute(query):
        cpu_us = row.cpu_user_us + row.cpu_system_us
        used_us = cpu_us - first.setdefault(row.epoch, cpu_us)
        found.append(
            SampleLine(at_us=row.at_us, cpu_us=used_us, resident_bytes=row.resident_bytes, threads=row.threads)
        )
    return found


def _files(connection: Connection, number: int) -> list[FileLine]:
    table = tables.files
    is_its = (table.c.task == number) & (table.c.kind != PRINTED)  # which is no file
    query = select(table).where(is_its).order_by(table.c.epoch, table.c.kind, table.c.path)
    return [
        FileLine(
            kind=row.kind,
            path=row.path,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            way=row.way,
            took_us=row.took_us,
        )
        for row in connection.execute(query.limit(_MOST))
    ]


def _needs(connection: Connection, number: int) -> list[str]:
    table = tables.needs
    query = select(table.c.need).where(table.c.task == number).order_by(table.c.need).limit(_MOST)
    return [name_of(need) for need in connection.execute(query).scalars()]


def _needed_by(connection: Connection, number: int) -> list[str]:
    """Those of its session that need it: what others need is found by their key, which is by task."""
    table = tables.needs
    first = number >> 32 << 32
    query = (
        select(table.c.task)
        .where(table.c.task >= first, table.c.task < first + (1 << 32), table.c.need == number)
        .order_by(table.c.task)
        .limit(_MOST)
    )
    return [name_of(task) for task in connection.execute(query).scalars()]
