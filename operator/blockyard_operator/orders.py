"""Effects that are orders to the interchange and to the hub.

They need no answer: each is decided anew, and given again, as long as the world does not show it.
"""

from __future__ import annotations

from functools import partial

from blockyard.workflow.compiling import compile_again, compile_run
from blockyard_operator.core import plan as do
from blockyard_operator.hosted_runs import HostedRuns
from blockyard_operator.hub import HubLine
from blockyard_operator.interchange import Interchange


def give(line: Interchange, effect: do.DrainManagers | do.SayGone | do.ReportBlock | do.FailTasks) -> None:
    """Those about pools and blocks."""
    match effect:
        case do.DrainManagers(queue=queue, block=block, grace=grace):
            line.drain(queue, block, grace)
        case do.SayGone(queue=queue, block=block, reason=reason):
            line.gone(queue, block, reason)
        case do.ReportBlock(queue=queue, block=block, status=status):
            line.report(queue, block, status)
        case do.FailTasks(queue=queue, reason=reason):
            line.fail_tasks(queue, reason)


def give_of_run(runs: HostedRuns, effect: do.StartRun | do.RetryRun | do.AskRun | do.HoldRun | do.EndRun) -> None:
    """Those about runs of workflows, whose answers bring their key back."""
    match effect:
        case do.StartRun(run=run, name=name, spec=spec):
            order = compile_run(spec, name, queue_of=lambda pool: f"{run.namespace}.{pool}")
            runs.start(order, (run.namespace, run.name))
        case do.RetryRun(run=run, name=name, spec=spec, attempt=attempt):
            again = partial(compile_again, spec, queue_of=lambda pool: f"{run.namespace}.{pool}")
            runs.retry(name, again, attempt, (run.namespace, run.name))
        case do.AskRun(run=run, name=name):
            runs.ask(name, (run.namespace, run.name))
        case do.HoldRun(name=name, held=held, running=running):
            runs.hold(name, held=held, running=running)
        case do.EndRun(name=name):
            runs.end(name)


def give_of_radio(hub: HubLine | None, effect: do.AskRadio | do.ShutRadio) -> None:
    """Those to the hub, about a pool's receiver. They are decided only where there is a hub."""
    assert hub is not None, "there is none to ask"
    match effect:
        case do.AskRadio(queue=queue, wanted=wanted, known=known):
            hub.ask(queue, wanted, known)
        case do.ShutRadio(queue=queue):
            hub.shut(queue)
