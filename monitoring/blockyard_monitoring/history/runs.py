"""Runs: which there are, how many tasks of each ended how, and where their time went."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Connection, and_, case, exists, func, literal, or_, select

from blockyard.wire.monitoring import TryState
from blockyard_monitoring.history.shapes import (
    FAILED,
    Page,
    label,
    of_run,
    page_of,
    state_word,
    submissions,
    tries,
    uses,
)
from blockyard_monitoring.sinks.sql import tables

_FAILED: Final = frozenset(int(state) for state in FAILED)
_NOT_RUN: Final = (int(TryState.CANCELLED), int(TryState.SKIPPED))


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """A run. Instants are microseconds UTC, 0: not yet, or not known."""

    run: str
    client: str
    began_us: int
    ended_us: int
    sessions: int
    tasks: int
    """Submitted."""
    done: int
    failed: int
    cancelled: int
    """Or skipped, as a step of a workflow may be."""

    @property
    def unfinished(self) -> int:
        """That have not ended."""
        return max(0, self.tasks - self.done - self.failed - self.cancelled)


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of tries that ended went; microseconds, all together."""

    tries: int
    queued_us: int
    travel_us: int
    """On its way and in between: from assigned to returned, without what follows."""
    ran_us: int
    cpu_us: int
    peak_bytes: int
    workers: int
    first_us: int
    """When the first of them was queued."""
    last_us: int


class FunctionLine(msgspec.Struct, frozen=True, kw_only=True):
    """Tries of one function that ended."""

    label: str
    tries: int
    failed: int
    ran_us: int
    longest_us: int

    @property
    def mean_us(self) -> int:
        """How long one ran."""
        return self.ran_us // self.tries if self.tries else 0


def runs(connection: Connection, before: tuple[int, str] | None = None, limit: int = 50) -> Page[RunLine]:
    """Runs with tasks, the latest first; those behind the key `before`. Who only looks at a system has none."""
    table = tables.sessions
    began = _first(table.c.began_us).label("began")
    is_open = func.sum(case((table.c.ended_us == 0, 1), else_=0))
    query = select(
        table.c.run, func.max(table.c.name), began, func.max(table.c.ended_us), is_open, func.count()
    ).group_by(table.c.run)
    query = query.where(exists(select(submissions.c.first).where(submissions.c.session == table.c.session)))
    if before is not None:
        at = literal(before[0], BigInteger)
        query = query.having(or_(began < at, and_(began == at, table.c.run < before[1])))
    found = connection.execute(query.order_by(began.desc(), table.c.run.desc()).limit(limit + 1)).all()
    counted = counts(connection, [row[0] for row in found[:limit]])
    lines = [
        _line(row[0], row[1], row[2], 0 if row[4] else row[3], row[5], counted.get(row[0], Counter())) for row in found
    ]
    return page_of(lines, limit, [(row[2], row[0]) for row in found])


def run(connection: Connection, name: str) -> RunLine | None:
    """One run; None: nothing is known of it."""
    table = tables.sessions
    row = connection.execute(
        select(
            func.count(), func.max(table.c.name), _first(table.c.began_us),
            func.max(table.c.ended_us), func.sum(case((table.c.ended_us == 0, 1), else_=0)),
        ).where(table.c.run == name)
    ).one()  # fmt: skip
    counted = counts(connection, [name]).get(name, Counter())
    if not row[0] and not counted:
        return None
    return _line(name, row[1] or "", row[2], 0 if row[4] else row[3] or 0, row[0], counted)


def _line(name: str, client: str, began_us: int, ended_us: int, sessions: int, counted: "Counter[str]") -> RunLine:
    return RunLine(
        run=name, client=client, began_us=began_us, ended_us=ended_us, sessions=sessions, tasks=counted["tasks"],
        done=counted["done"], failed=counted["failed"], cancelled=counted["cancelled"],
    )  # fmt: skip


def counts(connection: Connection, names: Sequence[str]) -> dict[str, "Counter[str]"]:
    """By run: ``tasks`` submitted; ``done``, ``failed`` and ``cancelled`` of those that ended."""
    found: dict[str, Counter[str]] = {}
    if not names:
        return found
    query = select(submissions.c.run, func.sum(submissions.c.count)).where(submissions.c.run.in_(names))
    for name, count in connection.execute(query.group_by(submissions.c.run)):
        found[name] = Counter(tasks=int(count))
    ended = (
        select(submissions.c.run, tries.c.state, func.count())
        .join(tries, tries.c.submission == submissions.c.first)
        .where(submissions.c.run.in_(names), tries.c.is_last == 1)
        .group_by(submissions.c.run, tries.c.state)
    )
    for name, state, count in connection.execute(ended):
        kind = "failed" if state in _FAILED else "cancelled" if state in _NOT_RUN else "done"
        found.setdefault(name, Counter())[kind] += int(count)
    return found


def states(connection: Connection, run: str = "") -> dict[str, int]:
    """How tries fare, by the word for their state; of one run, or of all."""
    query = select(tries.c.state, func.count()).group_by(tries.c.state)
    if run:
        query = query.join(submissions, submissions.c.first == tries.c.submission).where(of_run(run))
    return {state_word(state): int(count) for state, count in connection.execute(query)}


def spent(connection: Connection, run: str) -> Spent:
    """Where a run's time went."""
    ended = _ended(run)
    queued = _not_negative(tries.c.assigned_us - tries.c.queued_us)
    travel = _not_negative(tries.c.returned_us - tries.c.assigned_us - tries.c.ran_us)
    row = connection.execute(
        select(
            func.count(), func.sum(queued), func.sum(travel), func.sum(tries.c.ran_us), func.min(tries.c.queued_us),
            func.max(tries.c.returned_us),
        )
        .join(submissions, submissions.c.first == tries.c.submission)
        .where(ended)
    ).one()  # fmt: skip
    of_uses = (
        select(uses.c.task, uses.c.epoch)
        .add_columns(uses.c.manager, uses.c.worker, uses.c.cpu_user_us, uses.c.cpu_system_us, uses.c.peak_bytes)
        .join(tries, and_(tries.c.task == uses.c.task, tries.c.epoch == uses.c.epoch))
        .join(submissions, submissions.c.first == tries.c.submission)
        .where(ended)
        .subquery()
    )
    cpu_us, peak = connection.execute(
        select(func.sum(of_uses.c.cpu_user_us + of_uses.c.cpu_system_us), func.max(of_uses.c.peak_bytes))
    ).one()
    # A worker that died has a successor with another number: a manager has no more at a time than it said.
    ran = func.count(of_uses.c.worker.distinct())
    said = select(func.max(tables.nodes.c.workers)).where(tables.nodes.c.manager == of_uses.c.manager).scalar_subquery()
    seats = connection.execute(select(ran, said).group_by(of_uses.c.manager)).all()
    workers = sum(min(count, most or count) for count, most in seats)
    return Spent(
        tries=row[0], queued_us=int(row[1] or 0), travel_us=int(row[2] or 0), ran_us=int(row[3] or 0),
        cpu_us=int(cpu_us or 0), peak_bytes=int(peak or 0), workers=workers, first_us=int(row[4] or 0),
        last_us=int(row[5] or 0),
    )  # fmt: skip


def functions(connection: Connection, run: str, limit: int = 20) -> list[FunctionLine]:
    """Functions whose tries ran longest, all together, first."""
    name, total = label(), func.sum(tries.c.ran_us)
    query = (
        select(name, func.count(), func.sum(case((tries.c.state.in_(_FAILED), 1), else_=0)), total)
        .add_columns(func.max(tries.c.ran_us))
        .join(tries, tries.c.submission == submissions.c.first)
        .where(_ended(run))
        .group_by(name)
        .order_by(total.desc(), name)
        .limit(limit)
    )
    return [
        FunctionLine(label=row[0], tries=row[1], failed=int(row[2]), ran_us=int(row[3]), longest_us=int(row[4]))
        for row in connection.execute(query)
    ]


def _first(instants: ColumnElement[int]) -> ColumnElement[int]:
    """The first of those that are known; 0: none is."""
    return func.coalesce(func.min(case((instants > 0, instants))), literal(0, BigInteger))


def _ended(run: str) -> ColumnElement[bool]:
    """Tries of a run that ended; not tasks that had none."""
    return and_(of_run(run), tries.c.state >= 0, tries.c.epoch > 0)


def _not_negative(amount: ColumnElement[int]) -> ColumnElement[int]:
    return case((amount > 0, amount), else_=0)
