"""``blockyard top``: pools and blocks as they are now, drawn again and again."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import msgspec

from blockyard.cli import options, show, views
from blockyard.cli.asking import Asking, asking
from blockyard.cli.options import Call
from blockyard.config import Output
from blockyard.wire import control

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST_BLOCKS = 30
"""That are drawn; the busiest first."""


@click.command(epilog="Examples: blockyard top; blockyard top --once -o json")
@options.connected
@click.option("--interval", default=1.0, show_default=True, type=options.Number(0.1, 3600), metavar="SECONDS",
              help="Between two looks, over which rates are measured.")  # fmt: skip
@click.option("--once", is_flag=True, help="Look twice, show it once, and end.")
@options.pass_call
def top(call: Call, interval: float, once: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Show pools, what they get done a second, and their blocks, until Ctrl-C."""
    is_drawn = call.settings.output is Output.TABLE and sys.stdout.isatty() and not once
    with asking(call) as interchange:
        (_draw if is_drawn else _print)(interchange, call.settings.output, interval, once=once)


def _print(interchange: Asking, output: Output, interval: float, *, once: bool) -> None:
    before = _look(interchange)
    while True:
        time.sleep(interval)
        after = _look(interchange)
        view = view_of(before, after)
        show.answer(output, view, *parts_of(view, interchange.target.name))
        sys.stdout.flush()
        before = after
        if once:
            return


def _draw(interchange: Asking, output: Output, interval: float, *, once: bool) -> None:
    from rich.live import Live

    del output, once
    before = _look(interchange)
    with Live(console=show.console(), screen=True, auto_refresh=False) as live:
        while True:
            after = _look(interchange)
            live.update(_drawn(view_of(before, after), interchange.target.name), refresh=True)
            before = after
            time.sleep(interval)


class Look(msgspec.Struct, frozen=True):
    """What the interchange said, and when (monotonic seconds)."""

    at: float
    status: control.StatusIs
    blocks: control.BlocksAre
    managers: control.ManagersAre


def _look(interchange: Asking) -> Look:
    status = interchange.ask(control.Status(), control.StatusIs)
    blocks = interchange.ask(control.Blocks(), control.BlocksAre)
    managers = interchange.ask(control.Managers(), control.ManagersAre)
    return Look(time.monotonic(), status, blocks, managers)


def view_of(before: Look, after: Look) -> views.TopView:
    """Two looks as one: what is now, and what was done a second in between. Pure."""
    seconds = after.at - before.at
    earlier = {pool.pool: pool for pool in before.status.pools}
    busy = _busy(after.managers)
    memory: dict[str, int] = {}
    for line in after.managers.managers:
        memory[line.pool] = memory.get(line.pool, 0) + line.resident_bytes
    pools = []
    for pool in after.status.pools:
        last = earlier.get(pool.pool)
        done, failed = (0, 0) if last is None else (pool.done - last.done, pool.failed - last.failed)
        pools.append(
            views.TopPool(
                pool=pool.pool, queued=pool.queued, assigned=pool.assigned, workers=pool.workers,
                busy=busy.get(pool.pool, 0), done_per_second=_rate(done, seconds),
                failed_per_second=_rate(failed, seconds), done=pool.done, failed=pool.failed, lost=pool.lost,
                resident_bytes=memory.get(pool.pool, 0),
            )
        )  # fmt: skip
    living = [line for line in after.blocks.blocks if not line.report.ended_at]
    return views.TopView(
        tasks=after.status.tasks, sessions=after.status.sessions, pools=pools,
        blocks=[views.block_of(line) for line in sorted(living, key=lambda line: (-line.busy, line.report.block))],
    )  # fmt: skip


def _busy(managers: control.ManagersAre) -> Mapping[str, int]:
    """Workers that are busy, by pool."""
    found: dict[str, int] = {}
    for line in managers.managers:
        found[line.pool] = found.get(line.pool, 0) + min(line.workers, line.load)
    return found


def _rate(count: int, seconds: float) -> float:
    return round(max(0, count) / seconds, 1) if seconds > 0 else 0.0


def parts_of(view: views.TopView, name: str) -> list[show.Table | str]:
    """The view as a sentence and two tables."""
    columns = ("POOL", "QUEUED>", "ASSIGNED>", "WORKERS>", "BUSY>", "DONE/S>", "FAILED/S>", "DONE>", "FAILED>", "LOST>",
               "MEMORY>")  # fmt: skip
    rows = [
        (pool.pool, pool.queued, pool.assigned, pool.workers, f"{pool.busy} {_bar(pool)}", f"{pool.done_per_second:g}",
         f"{pool.failed_per_second:g}", pool.done, pool.failed, pool.lost, show.bytes_of(pool.resident_bytes))
        for pool in view.pools
    ]  # fmt: skip
    blocks = [
        (block.block, block.pool, block.state, block.managers, block.workers, block.busy,
         "draining" if block.draining else block.reason, block.node, show.since(block.started_at))
        for block in view.blocks[:_MOST_BLOCKS]
    ]  # fmt: skip
    more = len(view.blocks) - len(blocks)
    return [
        f"{name}: {view.tasks} tasks kept, {view.sessions} clients",
        show.Table(columns, rows, "no pools"),
        "",
        show.Table(
            ("BLOCK", "POOL", "STATE", "MANAGERS>", "WORKERS>", "BUSY>", "REASON", "NODE", "AGE>"), blocks, "no blocks"
        ),
        *([f"and {more} blocks more"] if more > 0 else []),
    ]


def _bar(pool: views.TopPool) -> str:
    full = round(8 * pool.busy / pool.workers) if pool.workers else 0
    return "█" * full + "░" * (8 - full)


def _drawn(view: views.TopView, name: str) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [
        Text(show.printable(part)) if isinstance(part, str) else show.Drawn(part) for part in parts_of(view, name)
    ]
    return Group(*parts)


__all__ = ["Look", "parts_of", "top", "view_of"]
