"""Failures, grouped by their cause."""

import msgspec
from sqlalchemy import Connection, func, select

from blockyard_monitoring.history.shapes import in_state, label, name_of, of_run, state_word, submissions, tries


class FailureLine(msgspec.Struct, frozen=True, kw_only=True):
    """Tries that failed alike: in the same way, with the same kind of error, in the same function."""

    state: str
    kind: str
    label: str
    """The function."""
    count: int
    ended_tasks: int
    """That ended with it; the others were tried again."""
    latest_us: int
    task: str
    """One of them, and what it said."""
    message: str
    evidence: str


def failures(connection: Connection, run: str = "", pool: str = "", limit: int = 50) -> list[FailureLine]:
    """The most frequent ones first."""
    name, count = label(), func.count()
    query = (
        select(tries.c.state, tries.c.kind, name, count, func.sum(tries.c.is_last), func.max(tries.c.returned_us))
        .add_columns(func.max(tries.c.task))
        .join(tries, tries.c.submission == submissions.c.first)
        .where(of_run(run), in_state("failed"))
        .group_by(tries.c.state, tries.c.kind, name)
        .order_by(count.desc(), tries.c.state, tries.c.kind, name)
        .limit(limit)
    )
    if pool:
        query = query.where(submissions.c.pool == pool)
    found = connection.execute(query).all()
    words = {
        (row.task, row.state, row.kind): (row.message, row.evidence)
        for row in connection.execute(select(tries).where(tries.c.task.in_([row[6] for row in found])))
    }
    lines = []
    for state, kind, name_, number, last, latest, task in found:
        message, evidence = words.get((task, state, kind), ("", ""))
        lines.append(
            FailureLine(
                state=state_word(state), kind=kind, label=name_, count=number, ended_tasks=int(last),
                latest_us=latest, task=name_of(task), message=message, evidence=evidence,
            )
        )  # fmt: skip
    return lines
