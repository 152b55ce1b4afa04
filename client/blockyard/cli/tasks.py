"""``blockyard status``, ``tasks``, ``task``, ``explain``, ``output`` and ``cancel``."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from blockyard.cli import kept, managed, options, show, views
from blockyard.cli.asking import Asking, TaskName, asking
from blockyard.cli.commands import Listing
from blockyard.cli.deployables import load
from blockyard.cli.exits import Exit, NotFound
from blockyard.cli.options import Call
from blockyard.config import Output
from blockyard.errors import BlockyardError
from blockyard.ids import TaskId, task_name
from blockyard.monitoring import history_of
from blockyard.wire import control
from blockyard.wire.records import Printed

STATES = ("WAITING", "QUEUED", "ASSIGNED", "DELAYED", "JOINING", "ENDED")
"""Of a task, see docs/states.md."""
_GLANCE_LETTERS = 2000
"""Of its last try's output that `blockyard task` shows."""
_NOTHING = "it printed nothing, or its manager has ended, or 1,000 tasks that printed came after it there"


@click.command(epilog="Example: blockyard status -o json")
@options.connected
@click.option("-w", "--watch", is_flag=True, help="Show it again every second, until Ctrl-C.")
@options.pass_call
def status(call: Call, watch: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Show how the interchange and its pools are."""
    with asking(call) as interchange:
        show_status(interchange, call.settings.output, watch=watch)


def show_status(
    interchange: Asking, output: Output, *, watch: bool, prefix: str = "", why: str = "'blockyard explain TASK'"
) -> None:
    """Answer `status`, of the pools whose names begin so; again and again when `watch` is set.

    `why`: what says more of a pool that has tasks and no manager.
    """
    while True:
        view = _status(interchange, prefix)
        if watch and sys.stdout.isatty():
            click.clear()
        show.answer(output, view, *_status_parts(view, why))
        if not watch:
            return
        time.sleep(1.0)


def _status(interchange: Asking, prefix: str) -> views.StatusView:
    found = interchange.ask(control.Status(), control.StatusIs)
    return views.StatusView(
        profile=interchange.target.name,
        endpoint=interchange.target.endpoint,
        opening=found.opening,
        tasks=found.tasks,
        bytes=found.bytes,
        sessions=found.sessions,
        pools=[views.pool_of(pool) for pool in sorted(found.pools, key=_name) if pool.pool.startswith(prefix)],
    )


def _name(pool: control.PoolStatus) -> str:
    return pool.pool


def _status_parts(view: views.StatusView, why: str) -> list[show.Table | str]:
    sentence = (
        f"{view.profile}: {view.tasks} tasks kept ({show.bytes_of(view.bytes)}), {view.sessions} clients, "
        f"opening {view.opening} of its journal"
    )
    columns = ("POOL", "QUEUED>", "ASSIGNED>", "MANAGERS>", "WORKERS>", "SUBMITTED>", "DONE>", "FAILED>",
               "CANCELLED>", "RETRIED>", "LOST>", "LATE>")  # fmt: skip
    rows = [
        (pool.pool, pool.queued, pool.assigned, pool.managers, pool.workers, pool.submitted, pool.done, pool.failed,
         pool.cancelled, pool.retried, pool.lost, pool.late)
        for pool in view.pools
    ]  # fmt: skip
    stuck = [
        f"pool {pool.pool!r} has tasks and no manager; {why} says why"
        for pool in view.pools
        if pool.queued and not pool.managers
    ]
    return [sentence, show.Table(columns, rows, "no pools"), *stuck]


@click.command(epilog="Example: blockyard tasks --state queued --pool gpu --limit 20")
@options.connected
@click.option("--state", "states", multiple=True, type=click.Choice(STATES, case_sensitive=False),
              help="Only tasks in this state; may be given several times.")  # fmt: skip
@click.option("--pool", default="", help="Only tasks of this pool.")
@click.option("--run", default="", help="Only tasks of this run.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@options.pass_call
def tasks(call: Call, states: tuple[str, ...], pool: str, run: str, limit: int) -> None:
    """List tasks that are not collected yet, oldest first."""
    with kept.asking_about(call, run) if run and not pool else asking(call) as interchange:
        question = control.Tasks([state.upper() for state in states], pool, run, limit)
        found = interchange.ask(question, control.TasksAre)
    view = views.TasksView(total=found.total, tasks=[views.task_of(line) for line in found.tasks])
    parts: list[show.Table | str] = [_task_table(view.tasks)]
    if view.total > len(view.tasks):
        parts.append(f"{len(view.tasks)} of {view.total} tasks; --limit shows more")
    show.answer(call.settings.output, view, *parts)


def _task_table(lines: list[views.TaskView]) -> show.Table:
    columns = ("TASK", "NAME", "POOL", "RUN", "STATE", "AGE>", "BLOCK")
    rows = [
        (
            line.task,
            line.name,
            line.pool,
            line.run,
            line.status or line.state,
            show.since(line.submitted_at),
            line.block,
        )
        for line in lines
    ]
    return show.Table(columns, rows, "no tasks")


class _TaskOrCommand(Listing):
    """``blockyard task 1f3a-42`` shows a task; its commands are about managed tasks."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return "show", self.commands["show"], args
        return super().resolve_command(ctx, args)


@click.group(cls=_TaskOrCommand, epilog="Examples: blockyard task 1f3a-42; blockyard task run find-peaks -c run12.yaml")
@options.connected
def task() -> None:
    """Show a task by its name (the same as `task show`), or run managed tasks here."""


task.add_command(managed.run)
task.add_command(managed.help_)
task.add_command(managed.list_)


@task.command("show", epilog="Example: blockyard task show 1f3a-42")
@options.connected
@click.argument("task", type=TaskName())
@options.pass_call
def show_task(call: Call, task: TaskId) -> None:
    """Show a task, in words why it waits or how it ended, and the last lines that it printed.

    With monitoring on this machine, also how its managed tasks stand: how far each is, or how it ended.
    """
    with asking(call) as interchange:
        try:
            found = interchange.ask(control.Task(task), control.TaskIs)
        except NotFound as error:
            raise NotFound(f"{error}; 'blockyard output {task_name(task)}' may still have what it printed") from error
        printed = interchange.ask(control.Output(task), control.OutputIs).tries
    tail = printed[-1].text[-_GLANCE_LETTERS:] if printed else ""
    sentences = [*found.sentences, *_programs(interchange.target.folder, task)]
    view = views.TaskDetailView(task=views.task_of(found.line), sentences=sentences, output=tail)
    parts = ["--- printed", tail.rstrip("\n")] if tail else []
    show.answer(call.settings.output, view, _task_table([view.task]), *view.sentences, *parts)


def _programs(folder: Path | None, task: TaskId) -> list[str]:
    """What the history has of its managed tasks; the task is shown without it where there is none."""
    try:
        if folder is None or not (url := history_of(folder)):
            return []
        found = load("blockyard_monitoring.history.configs", "monitoring").of_task_in_short(url, task)
    except BlockyardError as error:
        return [f"How its managed tasks stand is not known: {error}"]
    return [f"Its program {one.name!r} is {one.status}{f': {one.message}' if one.message else ''}" for one in found]


@click.command(epilog="Example: blockyard explain 1f3a-42")
@options.connected
@click.argument("task", type=TaskName())
@options.pass_call
def explain(call: Call, task: TaskId) -> None:
    """Say why a task waits, or how it ended."""
    view = _explained(call, task)
    show.answer(call.settings.output, view, *view.sentences)


def _explained(call: Call, task: TaskId) -> views.ExplainedView:
    with asking(call) as interchange:
        found = interchange.ask(control.Task(task), control.TaskIs)
    return views.ExplainedView(task=views.task_of(found.line), sentences=found.sentences)


@click.command(epilog="Example: blockyard output 1f3a-42")
@options.connected
@click.argument("task", type=TaskName())
@options.pass_call
def output(call: Call, task: TaskId) -> None:
    """Show the end of what a task has printed, as far as its manager keeps it."""
    with asking(call) as interchange:
        show_output(interchange, call.settings.output, task, hint=", which 'blockyard task' says")


def show_output(interchange: Asking, output: Output, task: TaskId, *, hint: str = "") -> None:
    """Answer `output`; `hint`: what is said besides when nothing is kept."""
    show_printed(output, task, printed_by(interchange, task), hint=hint)


def printed_by(interchange: Asking, task: TaskId) -> Sequence[Printed]:
    """The end of what each try of a task printed, while its manager keeps it."""
    return interchange.ask(control.Output(task), control.OutputIs).tries


def show_printed(output: Output, task: TaskId, found: Sequence[Printed], *, hint: str = "") -> None:
    """Answer with what the tries of a task printed."""
    view = views.OutputView(
        task=task_name(task), tries=[views.TryView(epoch=one.epoch, text=one.text) for one in found]
    )
    texts = [one.text.rstrip("\n") for one in found]
    if len(found) > 1:
        texts = [f"--- try {place} of {len(found)}\n{text}" for place, text in enumerate(texts, 1)]
    nothing = f"task {view.task}: nothing is kept of what it printed; {_NOTHING}{hint}"
    show.answer(output, view, *(texts or [nothing]))


@click.command(epilog="Examples: blockyard cancel 1f3a-42 1f3a-43; blockyard cancel --run sweep-7")
@options.connected
@click.argument("tasks", nargs=-1, type=TaskName())
@click.option("--pool", default="", help="All unfinished tasks of this pool.")
@click.option("--run", default="", help="All unfinished tasks of this run.")
@options.pass_call
def cancel(call: Call, tasks: tuple[TaskId, ...], pool: str, run: str) -> None:
    """Cancel tasks: those that wait at once; those that run are asked to end, and killed when they do not."""
    check_choice(tasks, pool, run)
    with kept.asking_about(call, run) if run and not pool else asking(call) as interchange:
        cancel_chosen(interchange, call.settings.output, tasks, pool, run)


@click.command(epilog="Example: blockyard stop 1f3a-42")
@options.connected
@click.argument("tasks", nargs=-1, required=True, type=TaskName())
@options.pass_call
def stop(call: Call, tasks: tuple[TaskId, ...]) -> None:
    """Stop the programs of running managed tasks, with all their processes, until `blockyard continue`."""
    with asking(call) as interchange:
        hold_chosen(interchange, call.settings.output, tasks, held=True)


@click.command("continue", epilog="Example: blockyard continue 1f3a-42")
@options.connected
@click.argument("tasks", nargs=-1, required=True, type=TaskName())
@options.pass_call
def continue_(call: Call, tasks: tuple[TaskId, ...]) -> None:
    """Let programs go on that `blockyard stop` has stopped."""
    with asking(call) as interchange:
        hold_chosen(interchange, call.settings.output, tasks, held=False)


def hold_chosen(interchange: Asking, output: Output, tasks: tuple[TaskId, ...], *, held: bool) -> None:
    """Carry out `stop` and `continue`."""
    count = sum(interchange.ask(control.HoldTask(task, held), control.Done).count for task in tasks)
    done = "stopped" if held else "let go on"
    show.answer(output, views.CountView(count=count), f"{count} managed {'task' if count == 1 else 'tasks'} {done}")


def check_choice(tasks: tuple[TaskId, ...], pool: str, run: str) -> None:
    """Raise UsageError unless tasks are named in exactly one way."""
    if bool(tasks) == bool(pool or run):
        raise click.UsageError("give the tasks to cancel, or --pool, or --run")


def cancel_chosen(interchange: Asking, output: Output, tasks: tuple[TaskId, ...], pool: str, run: str) -> None:
    """Carry out `cancel`."""
    from blockyard.cli.workflows import cancel_run

    count = cancel_run(interchange, run) if run and not pool else None
    if count is None:
        order = control.CancelTasks([*tasks]) if tasks else control.CancelMatching(pool, run)
        count = interchange.ask(order, control.Done).count
    if tasks and count == 0:
        names = show.listed(task_name(task) for task in tasks)
        raise NotFound(f"nothing was cancelled: {names}: ended, or never submitted here; 'blockyard task' says which")
    noun = "task" if count == 1 else "tasks"
    show.answer(output, views.CountView(count=count), f"{count} {noun} cancelled")


__all__ = ["STATES", "Exit", "cancel", "continue_", "explain", "output", "status", "stop", "task", "tasks"]
