"""Who ran what when: as bars where they are wide enough to be seen, and else counted in buckets, by the database.

However many tries a window holds, the answer is bounded: a worker runs one at a time, so at most one bar a bucket is
wider than a bucket; and what is narrower is one row a worker and bucket.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Connection, Select, and_, case, func, literal, select

from blockyard_monitoring.history.shapes import FAILED, label, name_of, of_run, state_word, submissions, tries, uses

MOST_LANES: Final = 64
MOST_BUCKETS: Final = 800
MOST_BARS: Final = 6000
_FAILED: Final = tuple(int(state) for state in FAILED)


class Lane(msgspec.Struct, frozen=True, array_like=True):
    """A worker; -1: the history does not say which of its manager."""

    manager: str
    worker: int


class Bin(msgspec.Struct, frozen=True, array_like=True):
    """Tries of one lane that were narrower than a bucket and began in this one."""

    lane: int
    bucket: int
    count: int
    busy_us: int
    failed: int


class Bar(msgspec.Struct, frozen=True, array_like=True):
    """One try."""

    lane: int
    began_us: int
    ended_us: int
    state: str
    task: str
    label: str


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A window of time, in buckets from `from_us` on."""

    from_us: int
    to_us: int
    bucket_us: int
    lanes: list[Lane]
    is_cut: bool
    """There are more lanes, or bars, than are told."""
    next_lane: Lane | None
    """The first of those that are not told."""
    bins: list[Bin]
    bars: list[Bar]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """The same of all workers together, by bucket: how many of them were busy, on average, and what ended."""

    from_us: int
    bucket_us: int
    busy: list[float]
    ended: list[int]
    failed: list[int]


def extent(connection: Connection, run: str = "") -> tuple[int, int] | None:
    """When the first try began and the last one was heard of; None: there was none."""
    query = select(func.min(tries.c.assigned_us), func.max(tries.c.returned_us)).where(tries.c.assigned_us > 0)
    if run:
        query = query.join(submissions, submissions.c.first == tries.c.submission).where(of_run(run))
    began, ended = connection.execute(query).one()
    return None if began is None else (int(began), max(int(began) + 1, int(ended)))


def timeline(
    connection: Connection, window: tuple[int, int], *, run: str = "", buckets: int = 400, from_lane: Lane | None = None
) -> Timeline:
    """A window of a run, or of everything."""
    from_us, to_us = window
    bucket_us = max(1, -(-(to_us - from_us) // buckets))
    lanes = _lanes(connection, window, run, from_lane)
    shown = lanes[:MOST_LANES]
    places = {(lane.manager, lane.worker): place for place, lane in enumerate(shown)}
    bars = _bars(connection, window, run, bucket_us, shown)
    bins = _bins(connection, window, run, bucket_us, shown)
    return Timeline(
        from_us=from_us,
        to_us=to_us,
        bucket_us=bucket_us,
        lanes=shown,
        is_cut=len(lanes) > MOST_LANES or len(bars) > MOST_BARS,
        next_lane=lanes[MOST_LANES] if len(lanes) > MOST_LANES else None,
        bins=[Bin(places[row[0], row[1]], *map(int, row[2:])) for row in bins if (row[0], row[1]) in places],
        bars=[
            Bar(places[row[0], row[1]], row[2], row[3], state_word(row[4]), name_of(row[5]), row[6])
            for row in bars[:MOST_BARS]
            if (row[0], row[1]) in places
        ],
    )


def usage(connection: Connection, window: tuple[int, int], *, run: str = "", buckets: int = 200) -> Usage:
    """How busy workers were. Tries wider than a bucket are spread over those that they touch, at most 6,000 of them."""
    from_us, to_us = window
    bucket_us = max(1, -(-(to_us - from_us) // buckets))
    busy, ended, failed = [0.0] * buckets, [0] * buckets, [0] * buckets
    began, over = _began(), _over(to_us)
    bucket = _bucket(began, from_us, bucket_us)
    narrow = _tries([bucket, func.count(), func.sum(over - began), func.sum(_has_failed())], window, run)
    for place, count, used, bad in connection.execute(narrow.where(over - began < bucket_us).group_by(bucket)):
        at = min(max(0, place), buckets - 1)
        busy[at] += float(used)
        ended[at] += count
        failed[at] += int(bad)
    wide = _tries([began, over, tries.c.state], window, run).where(over - began >= bucket_us)
    for start, stop, state in connection.execute(wide.order_by((over - began).desc()).limit(MOST_BARS)):
        _spread(busy, (start - from_us, stop - from_us), bucket_us)
        if state >= 0:
            at = min(max(0, (stop - from_us) // bucket_us), buckets - 1)
            ended[at] += 1
            failed[at] += state in _FAILED
    return Usage(
        from_us=from_us,
        bucket_us=bucket_us,
        busy=[round(used / bucket_us, 3) for used in busy],
        ended=ended,
        failed=failed,
    )


def _spread(busy: list[float], span: tuple[int, int], bucket_us: int) -> None:
    start, stop = max(0, span[0]), min(span[1], len(busy) * bucket_us)
    for place in range(start // bucket_us, min(len(busy), -(-stop // bucket_us))):
        busy[place] += max(0, min(stop, (place + 1) * bucket_us) - max(start, place * bucket_us))


def _is_seen() -> ColumnElement[bool]:
    """Its worker has said when it ran, between when it was handed out and when its outcome came."""
    ended = uses.c.began_us + tries.c.ran_us
    return and_(tries.c.state >= 0, uses.c.began_us >= tries.c.assigned_us, ended <= tries.c.returned_us)


def _began() -> ColumnElement[int]:
    """When a try began. Outcomes come in batches, so when its own came tells that of the last of them alone."""
    computed = tries.c.returned_us - tries.c.ran_us
    is_later = and_(tries.c.state >= 0, computed > tries.c.assigned_us)
    return case((_is_seen(), uses.c.began_us), (is_later, computed), else_=tries.c.assigned_us)


def _over(until_us: int) -> ColumnElement[int]:
    """When a try ended; one that goes on, as if at the window's end."""
    has_come = (tries.c.state >= 0, tries.c.returned_us)
    return case((_is_seen(), uses.c.began_us + tries.c.ran_us), has_come, else_=literal(until_us, BigInteger))


def _bucket(began: ColumnElement[int], from_us: int, bucket_us: int) -> ColumnElement[int]:
    return (began - literal(from_us, BigInteger)) // literal(bucket_us, BigInteger)


def _has_failed() -> ColumnElement[int]:
    return case((tries.c.state.in_(_FAILED), 1), else_=0)


def _worker() -> ColumnElement[int]:
    return func.coalesce(uses.c.worker, -1)


def _tries(
    columns: Sequence[ColumnElement[Any]], window: tuple[int, int], run: str, *, named: bool = False
) -> Select[Any]:
    """Tries that ran within a window, with what their workers said. `named`: with their submissions, too."""
    from_us, to_us = window
    query: Select[Any] = select(*columns).select_from(tries)
    if run or named:
        query = query.join(submissions, submissions.c.first == tries.c.submission).where(of_run(run))
    query = query.outerjoin(uses, and_(uses.c.task == tries.c.task, uses.c.epoch == tries.c.epoch))
    query = query.where(tries.c.epoch > 0, tries.c.assigned_us > 0, tries.c.assigned_us < to_us)
    return query.where((tries.c.returned_us >= from_us) | (tries.c.state < 0))


def _lanes(connection: Connection, window: tuple[int, int], run: str, first: Lane | None) -> list[Lane]:
    manager, worker = tries.c.manager, _worker()
    query = _tries([manager, worker], window, run, named=True).group_by(manager, worker).order_by(manager, worker)
    if first is not None:
        query = query.where((manager > first.manager) | ((manager == first.manager) & (worker >= first.worker)))
    return [Lane(*row) for row in connection.execute(query.limit(MOST_LANES + 1))]


def _bars(
    connection: Connection, window: tuple[int, int], run: str, bucket_us: int, shown: Sequence[Lane]
) -> Sequence[Any]:
    began, over = _began(), _over(window[1])
    columns = [tries.c.manager, _worker(), began, over, tries.c.state, tries.c.task, label()]
    query = _tries(columns, window, run, named=True).where(over - began >= bucket_us, _of(shown))
    return connection.execute(query.order_by((over - began).desc()).limit(MOST_BARS + 1)).all()


def _bins(
    connection: Connection, window: tuple[int, int], run: str, bucket_us: int, shown: Sequence[Lane]
) -> Sequence[Any]:
    began, over, worker = _began(), _over(window[1]), _worker()
    bucket = _bucket(began, window[0], bucket_us)
    columns = [tries.c.manager, worker, bucket, func.count(), func.sum(over - began), func.sum(_has_failed())]
    query = _tries(columns, window, run, named=True).where(over - began < bucket_us, _of(shown))
    query = query.group_by(tries.c.manager, worker, bucket).limit(MOST_LANES * MOST_BUCKETS)
    return connection.execute(query).all()


def _of(shown: Sequence[Lane]) -> ColumnElement[bool]:
    return tries.c.manager.in_(sorted({lane.manager for lane in shown}))
