"""What waits for what: of a few tasks as they are, of many by their functions, so that the answer is bounded."""

from collections.abc import Iterable
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, select

from blockyard_monitoring.history.shapes import (
    label,
    name_of,
    stands_for_its_task,
    state_word,
    submissions,
    tries,
)
from blockyard_monitoring.sinks.sql import tables

MOST_EDGES: Final = 300
"""Of tasks; of a run with more, its functions are told."""
_MOST_KINDS: Final = 100
_NEAR: Final = 4
"""Steps from the task that is asked about."""
_MOST_NEAR: Final = 150


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A task, or (`task` is '') all tasks of one function."""

    key: str
    task: str
    label: str
    state: str
    """``waiting`` for a task without a try; '' for a function."""


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """`to` waits for `of`, which are keys of nodes; `count`: so many tasks do."""

    of: str
    to: str
    count: int = 1


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes and edges."""

    nodes: list[Node]
    edges: list[Edge]
    is_by_function: bool
    is_cut: bool
    """There are more than are told."""


NOTHING: Final = Graph(nodes=[], edges=[], is_by_function=False, is_cut=False)


def of_run(connection: Connection, run: str) -> Graph:
    """Of a run."""
    needs = tables.needs
    query = (
        select(needs.c.task, needs.c.need)
        .join(submissions, _holds(needs.c.task))
        .where(submissions.c.run == run)
        .order_by(needs.c.task, needs.c.need)
        .limit(MOST_EDGES + 1)
    )
    found = [(row.task, row.need) for row in connection.execute(query)]
    if len(found) <= MOST_EDGES:
        return _of_tasks(connection, found, is_cut=False)
    return _by_function(connection, run)


def of_task(connection: Connection, task: int) -> Graph:
    """Around a task: what it needs and what needs it, up to four steps away."""
    edges: set[tuple[int, int]] = set()
    up, down = {task}, {task}
    for _ in range(_NEAR):
        above = _edges(connection, tables.needs.c.task, up)
        below = _edges(connection, tables.needs.c.need, down)
        up, down = {need for _, need in above}, {one for one, _ in below}
        edges |= {*above, *below}
        if len(edges) > _MOST_NEAR or not (up or down):
            break
    kept = sorted(edges)[:_MOST_NEAR]
    return _of_tasks(connection, kept, is_cut=len(edges) > _MOST_NEAR, always=[task])


def _edges(connection: Connection, column: "ColumnElement[int]", ends: set[int]) -> list[tuple[int, int]]:
    """Edges at any of these tasks; within their sessions, which the key leads to."""
    if not ends:
        return []
    needs = tables.needs
    firsts = sorted({end >> 32 << 32 for end in ends})[:8]
    found: list[tuple[int, int]] = []
    for first in firsts:
        own = sorted(end for end in ends if end >> 32 << 32 == first)[:_MOST_NEAR]
        query = select(needs.c.task, needs.c.need).where(
            needs.c.task >= first, needs.c.task < first + (1 << 32), column.in_(own)
        )
        found += [(row.task, row.need) for row in connection.execute(query.limit(_MOST_NEAR + 1))]
    return found


def _of_tasks(
    connection: Connection, edges: Iterable[tuple[int, int]], *, is_cut: bool, always: Iterable[int] = ()
) -> Graph:
    edges = list(edges)
    numbers = sorted({*always, *(number for edge in edges for number in edge)})
    known = {
        row.task: (row.label, state_word(row.state))
        for row in connection.execute(
            select(tries.c.task, tries.c.state, label())
            .join(submissions, submissions.c.first == tries.c.submission)
            .where(tries.c.task.in_(numbers), stands_for_its_task())
        )
    }
    nodes = []
    for number in numbers:
        name = name_of(number)
        called, state = known.get(number, ("", "waiting"))
        nodes.append(Node(key=name, task=name, label=called, state=state))
    told = [Edge(of=name_of(need), to=name_of(task)) for task, need in edges]
    return Graph(nodes=nodes, edges=told, is_by_function=False, is_cut=is_cut)


def _by_function(connection: Connection, run: str) -> Graph:
    needs, other = tables.needs, tables.submissions.alias("o")
    named, needed = label(), func.coalesce(func.nullif(other.c.name, ""), other.c.function).label("needed")
    before = tables.submissions.alias("before")
    first = select(func.max(before.c.first)).where(before.c.first <= needs.c.need).scalar_subquery()
    count = func.count()
    query = (
        select(named, needed, count)
        .select_from(needs)
        .join(submissions, _holds(needs.c.task))
        .join(other, other.c.first == first)
        .where(submissions.c.run == run, other.c.run == run)
        .group_by(named, needed)
        .order_by(count.desc(), named, needed)
        .limit(_MOST_KINDS + 1)
    )
    found = connection.execute(query).all()
    edges = [Edge(of=row[1], to=row[0], count=row[2]) for row in found[:_MOST_KINDS]]
    names = sorted({end for edge in edges for end in (edge.of, edge.to)})
    nodes = [Node(key=name, task="", label=name, state="") for name in names]
    return Graph(nodes=nodes, edges=edges, is_by_function=True, is_cut=len(found) > _MOST_KINDS)


def _holds(task: "ColumnElement[int]") -> "ColumnElement[bool]":
    return and_(submissions.c.first <= task, submissions.c.first + submissions.c.count > task)
