"""A run in numbers, as `client.run.summary()` and ``blockyard report`` give it."""

import time
from contextlib import closing
from typing import Final

from sqlalchemy import Connection, func, select

from blockyard.errors import ConfigError
from blockyard.runs import FailureSummary, FunctionSummary, RunSummary
from blockyard_monitoring.history import configs
from blockyard_monitoring.history import failures as failing
from blockyard_monitoring.history import runs as running
from blockyard_monitoring.history.reading import History
from blockyard_monitoring.history.shapes import of_run, seconds, submissions, tries

_LOOK_SECONDS: Final = 0.05


def summarise(url: str, run: str, patience: float = 0.0) -> RunSummary:
    """Of a run in the database of this URL; it has `patience` seconds to become known there.

    Raises HistoryAway, ConfigError when nothing is known of it.
    """
    end = time.monotonic() + patience
    with closing(History(url, connections=1)) as history:
        while True:
            with history.connection() as connection:
                found = summary(connection, run)
            if found is not None or time.monotonic() >= end:
                break
            time.sleep(_LOOK_SECONDS)
    if found is None:
        raise ConfigError(f"run {run!r}: the history {history} knows nothing of it")
    return found


def summary(connection: Connection, run: str) -> RunSummary | None:
    """None: nothing is known of it."""
    line = running.run(connection, run)
    if line is None:
        return None
    spent = running.spent(connection, run)
    tried = running.states(connection, run)
    return RunSummary(
        run=run,
        tasks=line.tasks,
        done=line.done,
        failed=line.failed,
        cancelled=line.cancelled,
        unfinished=line.unfinished,
        tries=spent.tries,
        retried=_retried(connection, run),
        lost=tried.get("lost", 0),
        began_at=seconds(line.began_us or spent.first_us),
        ended_at=seconds(spent.last_us),
        queued_seconds=seconds(spent.queued_us),
        travel_seconds=seconds(spent.travel_us),
        running_seconds=seconds(spent.ran_us),
        cpu_seconds=seconds(spent.cpu_us),
        peak_bytes=spent.peak_bytes,
        workers=spent.workers,
        functions=[_function(one) for one in running.functions(connection, run)],
        failures=[_failure(one) for one in failing.failures(connection, run, limit=20)],
        done_unwell=configs.count_unwell(connection, run),
        programs=configs.unwell(connection, run, limit=20),
    )


def _retried(connection: Connection, run: str) -> int:
    query = (
        select(func.count())
        .select_from(tries)
        .join(submissions, submissions.c.first == tries.c.submission)
        .where(of_run(run), tries.c.state >= 0, tries.c.state != 2, tries.c.is_last == 0)
    )
    return int(connection.execute(query).scalar_one())


def _function(one: running.FunctionLine) -> FunctionSummary:
    return FunctionSummary(
        function=one.label,
        tries=one.tries,
        failed=one.failed,
        total_seconds=seconds(one.ran_us),
        mean_seconds=seconds(one.mean_us),
        max_seconds=seconds(one.longest_us),
    )


def _failure(one: failing.FailureLine) -> FailureSummary:
    return FailureSummary(state=one.state, kind=one.kind, message=one.message, count=one.count, task=one.task)
