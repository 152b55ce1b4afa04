"""``blockyard doctor``: whether a client here and the workers there fit together."""

import click

from blockyard import doctor as doctors
from blockyard.cli import options, show
from blockyard.cli.asking import asking
from blockyard.cli.exits import Exit, NotFound
from blockyard.cli.options import Call
from blockyard.suggestion import nearest
from blockyard.wire import control


@click.command(epilog="Example: blockyard doctor --pool gpu")
@options.connected
@click.option("--pool", "only", multiple=True, help="Only this pool; may be given several times.")
@click.option("--wait", default=30.0, show_default=True, type=options.Number(0, options.MOST_SECONDS),
              help="Seconds until a pool counts as having no worker.")  # fmt: skip
@options.pass_call
def doctor(call: Call, only: tuple[str, ...], wait: float) -> int:
    """Run a task in each pool and compare Python and all packages there with those here; exit code 1 on a fault."""
    with asking(call) as interchange:
        pools = [pool.pool for pool in interchange.ask(control.Status(), control.StatusIs).pools]
        for pool in only:
            if pool not in pools:
                raise NotFound(f"pool {pool!r} does not exist{nearest(pool, pools)}")
        checks = doctors.examine(interchange.engine, list(only) or pools, wait)
    rows = [
        (
            finding.pool,
            str(finding.weight),
            finding.subject,
            finding.client or "-",
            finding.worker or "-",
            finding.message,
        )
        for check in checks
        for finding in check.findings
    ]
    counted = doctors.verdict(checks)
    faults, notes = counted[doctors.Weight.FAULT], counted[doctors.Weight.NOTE]
    seen = [
        f"{check.pool}: {check.worker.implementation} {check.worker.python} on {check.worker.node}, "
        f"{len(check.worker.packages)} packages"
        for check in checks
        if check.worker is not None
    ]
    table = show.Table(("POOL", "WEIGHT", "WHAT", "HERE", "THERE", "ADVICE"), rows, "nothing differs")
    show.answer(call.settings.output, checks, *seen, table, f"{_counted(faults, 'fault')}, {_counted(notes, 'note')}")
    return Exit.FOUND_FAULTS if faults else Exit.DONE


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
