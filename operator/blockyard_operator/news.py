"""What the interchange pushes, as the operator reads it: a view of each pool, and what is new about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from blockyard.pool_engine import demand_of
from blockyard.wire import control
from blockyard_operator.core.view import Load, QueueView


class News(NamedTuple):
    """What has changed: of a pool of the interchange, and of which of its blocks; `queue` '': perhaps everything.

    `blocks`: those that came, went, began or ceased to work. `counts`: those of which merely counts have changed.
    """

    queue: str = ""
    blocks: frozenset[str] = frozenset()
    counts: frozenset[str] = frozenset()
    run: tuple[str, str] | None = None
    """Of a WorkflowRun alone: its namespace and name."""


OnNews = Callable[[News], None]
"""Called in the event loop."""


def compare(queue: str, before: QueueView | None, now: QueueView) -> News:
    """What is new about a pool's blocks."""
    old = before.loads if before is not None else {}
    names = frozenset(old) | frozenset(now.loads)
    turned = frozenset(name for name in names if _outline(old.get(name)) != _outline(now.loads.get(name)))
    counts = frozenset(name for name in names - turned if old.get(name) != now.loads.get(name))
    return News(queue, turned, counts)


def _outline(load: Load | None) -> object:
    """What of a load a block's reconcile acts upon."""
    if load is None:
        return None
    return load.managers, load.workers, load.draining, load.idle_since is None, load.done > 0


def view_of(answer: control.Demand, now: float, since: float) -> QueueView:
    """The wire's demand in epoch seconds. `now`, `since`: of the same clock."""
    shift = now - answer.at
    loads = {
        load.block: Load(
            managers=load.managers,
            workers=load.slots,
            busy=load.busy,
            done=load.done,
            idle_since=None if load.idle_since < 0 else load.idle_since + shift,
            draining=load.draining,
        )
        for load in answer.blocks
    }
    return QueueView(demand=demand_of(answer, now), loads=loads, since=since)
