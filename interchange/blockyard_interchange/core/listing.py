"""The blocks of the pools for listings and metrics: what their keeper reported, and what their managers do."""

from collections.abc import Iterable

from blockyard.wire import control
from blockyard_interchange.core.pools import Manager, Pool

ENDED_KEPT = 100
"""So many ended blocks of a pool stay listed."""

_LIVING = frozenset({"UNKNOWN", "PENDING", "RUNNING", "HELD"})


def is_living(report: control.BlockReport) -> bool:
    """Whether more may follow; see `blockyard.blocks.states.JobState`."""
    return report.state in _LIVING


def take_in(pool: Pool, reports: Iterable[control.BlockReport]) -> int:
    """Note what the keeper of a pool's blocks reports; returns how many reports that were."""
    count = 0
    for report in reports:
        pool.reports[report.block] = report
        count += 1
    ended = [report.block for report in pool.reports.values() if not is_living(report)]
    for block in ended[: max(0, len(ended) - ENDED_KEPT)]:
        del pool.reports[block]
    return count


def members(pool: Pool) -> dict[str, list[Manager]]:
    """The managers of each block that has some."""
    blocks: dict[str, list[Manager]] = {}
    for manager in pool.managers.values():
        blocks.setdefault(manager.block, []).append(manager)
    return blocks


def lines(pool: Pool, now: float) -> list[control.BlockLine]:
    """One line for each block. One that nobody reported, but that has managers, is shown as RUNNING."""
    present = members(pool)
    reports = dict(pool.reports)
    for block, found in present.items():
        reports.setdefault(block, control.BlockReport(block, "RUNNING", node=found[0].node))
    return [_line(pool, report, present.get(report.block, []), now) for report in reports.values()]


def _line(pool: Pool, report: control.BlockReport, found: list[Manager], now: float) -> control.BlockLine:
    load = sum(manager.load for manager in found)
    workers = sum(manager.workers for manager in found)
    since = max((max(manager.heard_of, manager.joined_at) for manager in found), default=now)
    return control.BlockLine(
        report,
        pool.name,
        len(found),
        workers,
        min(workers, load),
        any(manager.draining for manager in found),
        0.0 if load else max(0.0, now - since),
    )
