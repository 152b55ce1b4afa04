"""``kubectl blockyard``: the same questions and orders, to the interchange of a cluster.

kubectl finds plug-ins by their name on PATH, ``kubectl-blockyard``. What a user may do follows from the kubeconfig:
whoever may read the client's Secret and open a port-forward may ask, and whoever may patch WorkerBlocks may drain.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from blockyard import connect
from blockyard.blocks.states import JobState
from blockyard.cli import options, show, tasks, views, workflows
from blockyard.cli.asking import Asking, TaskName
from blockyard.cli.commands import Piped
from blockyard.cli.exits import NotFound
from blockyard.cli.options import Call
from blockyard.errors import BrokenBlockyard, NotInstalled
from blockyard.ids import TaskId, parse_task_name
from blockyard.remote import RemoteEngine, RemoteSettings
from blockyard.wire import control, hosted

if TYPE_CHECKING:
    from blockyard.kube.access import Access, Where

F = TypeVar("F", bound=Callable[..., Any])

_PROGRAM: Final = "kubectl blockyard"
_MOST_RUNS: Final = 100_000


class Cluster:
    """The flags that say which cluster, namespace and release."""

    def __init__(self) -> None:
        self.flags: dict[str, str] = {}
        self.everywhere = False

    def where(self) -> Where:
        """What these flags name, for the library. Raises NotInstalled."""
        if importlib.util.find_spec("kubernetes") is None:
            raise NotInstalled("kubernetes is not installed here: pip install 'blockyard[kubernetes]'")
        from blockyard.kube.access import Where

        return Where(**self.flags)


def _flag(name: str, *names: str, help: str) -> Callable[[F], F]:  # noqa: A002 - click's word
    def note(context: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.ensure_object(_Both).cluster.flags[name] = value

    return click.option(*names, expose_value=False, callback=note, metavar="NAME", help=help)


class _Both(Call):
    """The settings of a call, and the cluster that it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()


def _everywhere(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - as click calls it
    context.ensure_object(_Both).cluster.everywhere |= value


def _connected(command: F) -> F:
    """The options of every command."""
    for add in (
        options.output,
        options.timeout,
        _flag("release", "--release", help="Helm release, or NAMESPACE/RELEASE."),
        _flag(
            "client",
            "--client",
            help="One of the release's further clients, whose key may be good for some pools only.",
        ),
        _flag("kubeconfig", "--kubeconfig", help="File to use instead of what KUBECONFIG says."),
        _flag("context", "--context", help="Context of the kubeconfig."),
        _flag("namespace", "-n", "--namespace", help="Namespace of the pools; else the context's own."),
    ):
        command = add(command)
    return command


_all_namespaces = click.option(
    "-A", "--all-namespaces", is_flag=True, expose_value=False, callback=_everywhere, help="Pools of all namespaces."
)
_pass_call = click.make_pass_decorator(_Both, ensure=True)


class _Plugin(Piped):
    """Notes the flags of both kinds in one object, whichever comes first."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return super().make_context(info_name, args, parent, **{"obj": _Both(), **extra})


@click.group(cls=_Plugin, context_settings={"help_option_names": ["-h", "--help"]},
             epilog="Exit codes are those of 'blockyard'; see docs/cli.md.")  # fmt: skip
@click.version_option(package_name="blockyard", message="%(prog)s %(version)s")
@_connected
def kubectl_blockyard() -> None:
    """Look at the tasks and workers of a cluster, and act on them.

    \b
    kubectl blockyard status -A        see how all pools are
    kubectl blockyard logs 1f3a-42     see what a task has printed
    """


@kubectl_blockyard.command(epilog="Example: kubectl blockyard status -n science --watch")
@_connected
@_all_namespaces
@click.option("-w", "--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
@_pass_call
def status(call: _Both, watch: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Show how the pools are: what waits, what runs, what became of the rest."""
    with _asking(call) as (interchange, prefix):
        why = "'kubectl describe workerpools'"
        tasks.show_status(interchange, call.settings.output, watch=watch, prefix=prefix, why=why)


@kubectl_blockyard.command(epilog="Example: kubectl blockyard top -n science")
@_connected
@_all_namespaces
@_pass_call
def top(call: _Both) -> None:
    """Show what each pod does: its workers, how many are busy, its memory."""
    with _asking(call) as (interchange, prefix):
        found = interchange.ask(control.Managers(), control.ManagersAre).managers
    lines = sorted(
        (views.manager_of(line) for line in found if line.pool.startswith(prefix)),
        key=lambda one: (one.pool, -one.busy, one.block),
    )
    columns = ("POOL", "BLOCK", "NODE", "WORKERS>", "BUSY>", "HELD>", "MEMORY>", "SILENT>")
    rows = [
        (
            line.pool,
            f"{line.block} (draining)" if line.draining else line.block,
            line.node,
            line.workers,
            line.busy,
            line.held,
            show.bytes_of(line.resident_bytes),
            show.seconds_of(line.silent_seconds),
        )
        for line in lines
    ]
    show.answer(call.settings.output, lines, show.Table(columns, rows, "no managers"))


@kubectl_blockyard.command(epilog="Examples: kubectl blockyard logs 1f3a-42; kubectl blockyard logs grid fit")
@_connected
@click.argument("what", nargs=-1, metavar="TASK | WORKFLOWRUN STEP")
@_pass_call
def logs(call: _Both, what: tuple[str, ...]) -> None:
    """Show the end of what a task, or a step of a WorkflowRun, has printed, as far as its pod still keeps it."""
    try:
        task = parse_task_name(*what) if len(what) == 1 else None
    except ValueError as error:
        raise click.UsageError(f"{error}; give a task or a WorkflowRun and its step") from error
    if task is None and len(what) != 2:
        raise click.UsageError("give a task or a WorkflowRun and its step")
    with _asking(call) as (interchange, prefix):
        if task is not None:
            tasks.show_output(interchange, call.settings.output, task)
        else:
            workflows.show_logs(interchange, call.settings.output, _run_of(interchange, prefix, what[0]), what[1])


@kubectl_blockyard.command(epilog="Example: kubectl blockyard steps grid --state failed")
@_connected
@click.argument("run", metavar="WORKFLOWRUN")
@workflows.choosing_steps
@_pass_call
def steps(call: _Both, run: str, states: tuple[str, ...], limit: int, watch: bool) -> None:  # noqa: FBT001
    """List the steps of a WorkflowRun: how each stands, why it failed or was skipped, what it declared."""
    with _asking(call) as (interchange, prefix):
        run = _run_of(interchange, prefix, run)
        workflows.show_steps(interchange, call.settings.output, run, states, limit, watch=watch)


def _run_of(interchange: Asking, prefix: str, name: str) -> str:
    """The interchange's name of a WorkflowRun, the youngest of its name; any other name as it is."""
    runs = interchange.ask(hosted.Runs(_MOST_RUNS), hosted.RunsAre).runs
    return next((one.run for one in runs if one.run.rpartition(".")[0] == f"{prefix}{name}"), name)


@kubectl_blockyard.command(epilog="Examples: kubectl blockyard cancel 1f3a-42; kubectl blockyard cancel --pool default")
@_connected
@click.argument("names", nargs=-1, type=TaskName(), metavar="[TASK]...")
@click.option("--pool", default="", help="All unfinished tasks of this WorkerPool.")
@click.option("--run", default="", help="All unfinished tasks of this WorkflowRun, or of another run.")
@_pass_call
def cancel(call: _Both, names: tuple[TaskId, ...], pool: str, run: str) -> None:
    """Cancel tasks: those that wait at once; those that run are asked to end, and killed when they do not."""
    tasks.check_choice(names, pool, run)
    with _asking(call) as (interchange, prefix):
        run = _run_of(interchange, prefix, run) if run else ""
        tasks.cancel_chosen(interchange, call.settings.output, names, f"{prefix}{pool}" if pool else "", run)


@kubectl_blockyard.command(epilog="Example: kubectl blockyard stop 1f3a-42")
@_connected
@click.argument("names", nargs=-1, required=True, type=TaskName(), metavar="TASK...")
@_pass_call
def stop(call: _Both, names: tuple[TaskId, ...]) -> None:
    """Stop the programs of running managed tasks, with all their processes, until `kubectl blockyard continue`."""
    with _asking(call) as (interchange, _):
        tasks.hold_chosen(interchange, call.settings.output, names, held=True)


@kubectl_blockyard.command("continue", epilog="Example: kubectl blockyard continue 1f3a-42")
@_connected
@click.argument("names", nargs=-1, required=True, type=TaskName(), metavar="TASK...")
@_pass_call
def continue_(call: _Both, names: tuple[TaskId, ...]) -> None:
    """Let programs go on that were stopped."""
    with _asking(call) as (interchange, _):
        tasks.hold_chosen(interchange, call.settings.output, names, held=False)


@kubectl_blockyard.command(epilog="Example: kubectl blockyard drain default-x7k2p")
@_connected
@click.argument("blocks", nargs=-1, required=True, metavar="WORKERBLOCK...")
@_pass_call
def drain(call: _Both, blocks: tuple[str, ...]) -> None:
    """Drain blocks: they get no more tasks, and end when what runs there has ended. The pool may start others."""
    where = call.cluster.where()
    missing, over = asyncio.run(_drain(where, blocks))
    if missing:
        raise NotFound(f"no WorkerBlock {show.listed(missing)}; 'kubectl get workerblocks' lists them")
    count = len(blocks) - len(over)
    noun = "block drains" if count == 1 else "blocks drain"
    ended = f"; {show.listed(over)} had ended" if over else ""
    show.answer(call.settings.output, views.CountView(count=count), f"{count} {noun}{ended}")


async def _drain(where: Where, blocks: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Set `spec.drain` of the blocks, if all are there; returns those that are not, and those that had ended."""
    from blockyard.kube.api import Api
    from blockyard.kube.faults import ApiError
    from blockyard.kube.kinds import BLOCK

    async with await Api.connect(where.api) as api:
        namespace = where.namespace or api.namespace
        missing, over = [], []
        for block in blocks:
            try:
                found = await api.get(BLOCK, namespace, block)
                job = found.get("status", {}).get("jobStatus") or {}
                if job and JobState[job["state"]].terminal:
                    over.append(block)
            except ApiError as error:
                if not error.not_found:
                    raise
                missing.append(block)
        if not missing:
            for block in blocks:
                if block not in over:
                    await api.patch(BLOCK, namespace, block, {"spec": {"drain": True}})
        return missing, over


@contextmanager
def _asking(call: _Both) -> Iterator[tuple[Asking, str]]:
    """Connect to the cluster's interchange; yields it, and what the names of the chosen pools begin with."""
    where, settings = call.cluster.where(), call.settings  # first, since it says what is not installed
    from blockyard.kube.access import open_access

    opened = open_access(where)
    try:
        engine = _engine(opened, settings.timeout)
        try:
            name = f"{where.context or 'current context'}, release {where.release}"
            target = connect.Target(
                name=name,
                endpoint=opened.link.endpoint,
                server_key=opened.link.server_key.decode(),
                client_key=Path(),
            )
            prefix = "" if call.cluster.everywhere else f"{opened.namespace}."
            yield Asking(engine, target, settings.timeout), prefix
        finally:
            engine.shutdown(wait=True, cancel_futures=False)
    finally:
        if opened.forward is not None:
            opened.forward.stop()


def _engine(opened: Access, timeout: float) -> RemoteEngine:
    engine = RemoteEngine(RemoteSettings(opened.link, name=_PROGRAM, patience=timeout))
    try:
        engine.connect()
    except BrokenBlockyard as error:
        if opened.forward is None:
            raise
        raise BrokenBlockyard(f"{error}; the port-forward says: {opened.forward.complaint or 'connected'}") from error
    return engine
