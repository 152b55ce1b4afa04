"""What goes from the history when it is old, step by step, so that no step keeps the sink from writing for long.

A submission goes as a whole, once all of its tasks ended before the limit. It is noted in the table `leaving` first,
and then its tasks go slice by slice; whoever goes on after a crash finds it there. What has not ended stays, whatever
its age, and so do blocks and managers that may still be there. Samples and log lines go by their own time; where their
table has partitions, those go whole.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, text

from blockyard.blocks.states import MEANINGS_OF_ENDS
from blockyard_monitoring.sinks.sql import partitions

SLICE_TASKS: Final = 5000
"""Tasks whose rows go in one step; of samples and other single rows, as many rows."""
_PAGE: Final = 200
"""Submissions that are looked at in one step."""
_OF_TASKS: Final = ("samples", "worker_tasks", "files", "configs", "artefacts", "needs", "tries")
_ENDS: Final = ", ".join(f"'{state.name}'" for state in MEANINGS_OF_ENDS)

_BY_TIME: Final = {
    "samples": "(task, epoch, at_us) IN (SELECT task, epoch, at_us FROM {table} WHERE at_us < :limit LIMIT :most)",
    "events": "(at_us, kind, subject) IN (SELECT at_us, kind, subject FROM {table} WHERE at_us < :limit LIMIT :most)",
    "quarantine": "(source, number) IN (SELECT source, number FROM quarantine WHERE at_us < :limit LIMIT :most)",
    "artefact_parts": """
(sha256, part) IN (SELECT p.sha256, p.part FROM artefact_parts p WHERE p.at_us < :limit
  AND NOT EXISTS (SELECT 1 FROM artefacts a WHERE a.sha256 = p.sha256) LIMIT :most)""",
    "blocks": f"""
(pool, block) IN (SELECT pool, block FROM blocks GROUP BY pool, block HAVING max(at_us) < :limit
  AND max(CASE WHEN state IN ({_ENDS}) THEN at_us ELSE 0 END) = max(at_us) LIMIT :most)""",
    "nodes": """
manager IN (SELECT manager FROM nodes GROUP BY manager HAVING max(at_us) < :limit
  AND max(CASE WHEN state = 'gone' THEN at_us ELSE 0 END) = max(at_us) LIMIT :most)""",
    "sessions": """
session IN (SELECT e.session FROM sessions e WHERE e.ended_us > 0 AND e.ended_us < :limit
  AND NOT EXISTS (SELECT 1 FROM submissions s WHERE s.session = e.session) LIMIT :most)""",
}
"""By table: which rows go for their own sake; sessions and parts of
artefacts come last, when what they belong to is gone."""
_OLD: Final = """
SELECT s.first, s.submitted_us,
  NOT EXISTS (SELECT 1 FROM tries t WHERE t.submission = s.first AND t.returned_us >= :limit)
  AND (SELECT count(*) FROM tries t WHERE t.submission = s.first AND t.is_last = 1) >= s.count AS goes
FROM submissions s
WHERE s.submitted_us < :limit AND (s.submitted_us > :at OR (s.submitted_us = :at AND s.first > :first))
ORDER BY s.submitted_us, s.first LIMIT :page
"""


class Expiry:
    """One sweep after another. `slice_tasks` as `SLICE_TASKS`."""

    def __init__(self, slice_tasks: int = SLICE_TASKS) -> None:
        self._most = slice_tasks
        self._sweep: Iterator[Counter[str]] | None = None

    def step(self, connection: Connection, limit_us: int) -> Counter[str] | None:
        """A step of the sweep, inside the caller's transaction: rows that went, by table. None: nothing is left to go.

        `limit_us`: what was before goes; looked at when a sweep begins. After a step that failed call `again`.
        """
        if self._sweep is None:
            self._sweep = self._steps(connection, limit_us)
        found = next(self._sweep, None)
        if found is None:
            self._sweep = None
        return found

    def again(self) -> None:
        """Begin anew: the connection is another one."""
        self._sweep = None

    def _steps(self, connection: Connection, limit_us: int) -> Iterator[Counter[str]]:
        yield from self._leave(connection)
        has_partitions = connection.dialect.name == "postgresql"
        if has_partitions:
            yield partitions.drop_before(connection, limit_us)
        for table in ("samples", "events", "quarantine", "blocks", "nodes"):
            is_partitioned = has_partitions and table in partitions.PARTITIONED
            yield from self._by_time(connection, table, limit_us, partitions.rest(table) if is_partitioned else table)
        at, first = -1, 0
        while page := _ask(connection, _OLD, limit=limit_us, at=at, first=first, page=_PAGE):
            going = [found for found, _, goes in page if goes]
            for found in going:
                _do(connection, "INSERT INTO leaving (first, next_task) VALUES (:first, :first)", first=found)
            yield Counter()
            yield from self._leave(connection)
            first, at, _ = page[-1]
        for table in ("artefact_parts", "sessions"):
            yield from self._by_time(connection, table, limit_us)

    def _by_time(self, connection: Connection, table: str, limit_us: int, where: str = "") -> Iterator[Counter[str]]:
        """`where`: the part of the table that is looked into; '': all of it."""
        sql = f"DELETE FROM {where or table} WHERE {_BY_TIME[table].format(table=where or table)}"
        while count := _do(connection, sql, limit=limit_us, most=self._most):
            yield Counter({table: count})

    def _leave(self, connection: Connection) -> Iterator[Counter[str]]:
        """The tasks of what was noted, and then itself."""
        ask = (
            "SELECT l.first, l.next_task, s.count FROM leaving l LEFT JOIN submissions s ON s.first = l.first "
            "ORDER BY l.first LIMIT 1"
        )
        while found := _ask(connection, ask):
            ((first, begin, count),) = found
            end = first + (count or 0)
            stop = min(begin + self._most, end)
            gone: Counter[str] = Counter()
            for table in _OF_TASKS:
                gone[table] = _do(
                    connection, f"DELETE FROM {table} WHERE task >= :begin AND task < :stop", begin=begin, stop=stop
                )
            if stop < end:
                _do(connection, "UPDATE leaving SET next_task = :stop WHERE first = :first", stop=stop, first=first)
            else:
                gone["submissions"] = _do(connection, "DELETE FROM submissions WHERE first = :first", first=first)
                _do(connection, "DELETE FROM leaving WHERE first = :first", first=first)
            yield +gone


def _ask(connection: Connection, sql: str, **values: int) -> list[Any]:
    return list(connection.execute(text(sql), values).fetchall())


def _do(connection: Connection, sql: str, **values: int) -> int:
    """Rows that it touched."""
    return int(connection.execute(text(sql), values).rowcount)
