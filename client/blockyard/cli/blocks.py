"""``blockyard blocks`` and ``drain``."""

import click

from blockyard.cli import options, show, views
from blockyard.cli.asking import asking
from blockyard.cli.exits import NotFound
from blockyard.cli.options import Call
from blockyard.suggestion import nearest
from blockyard.wire import control

LIVING = frozenset({"UNKNOWN", "PENDING", "RUNNING", "HELD"})


@click.command(epilog="Example: blockyard blocks --pool default --all")
@options.connected
@click.option("--pool", default="", help="Only blocks of this pool.")
@click.option("-a", "--all", "ended_too", is_flag=True, help="Also blocks that have ended.")
@options.pass_call
def blocks(call: Call, pool: str, ended_too: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """List blocks: their state and the evidence for it, their managers and how busy they are."""
    with asking(call) as interchange:
        found = interchange.ask(control.Blocks(pool), control.BlocksAre)
    lines = [views.block_of(line) for line in found.blocks]
    shown = lines if ended_too else [line for line in lines if line.state in LIVING]
    columns = ("BLOCK", "POOL", "STATE", "WORKERS>", "BUSY>", "IDLE>", "SINCE>", "NODE", "WHY")
    rows = [
        (
            line.block,
            line.pool,
            "draining" if line.draining and line.state in LIVING else line.state,
            line.workers,
            line.busy,
            show.seconds_of(line.idle_seconds) if line.idle_seconds else "-",
            show.since(line.ended_at or line.started_at),
            line.node,
            f"{line.reason}: {line.message}" if line.message else line.reason,
        )
        for line in shown
    ]
    hidden = len(lines) - len(shown)
    empty = "no blocks" if not hidden else f"no living blocks; {hidden} ended ones with --all"
    show.answer(call.settings.output, shown, show.Table(columns, rows, empty))


@click.command(epilog="Example: blockyard drain default-1a1fc-0 --grace 60")
@options.connected
@click.argument("blocks", nargs=-1, required=True, metavar="BLOCK...")
@click.option("--grace", default=30.0, show_default=True, type=options.Number(0, options.MOST_SECONDS),
              help="Seconds that what runs there may go on.")  # fmt: skip
@options.pass_call
def drain(call: Call, blocks: tuple[str, ...], grace: float) -> None:
    """Give blocks no more tasks; they end when what runs there has ended. The pool may start others."""
    with asking(call) as interchange:
        found = interchange.ask(control.Blocks(), control.BlocksAre)
        known = [line.report.block for line in found.blocks if line.managers]
        for block in blocks:
            if block not in known:
                raise NotFound(f"block {block!r} has no managers to drain{nearest(block, known)}")
        count = interchange.ask(control.Drain(list(blocks), grace), control.Done).count
    noun = "manager drains" if count == 1 else "managers drain"
    show.answer(call.settings.output, views.CountView(count=count), f"{count} {noun}")
