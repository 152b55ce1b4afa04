"""``blockyard lint``, ``run``, ``runs``, ``steps``, ``logs``, ``retry``, ``suspend`` and ``resume``: workflows."""

import math
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from blockyard import config
from blockyard.cli import afterwards, kept, options, show, views
from blockyard.cli.asking import Asking, asking
from blockyard.cli.exits import Exit, Faulty, NotFound
from blockyard.cli.options import Call
from blockyard.errors import BlockyardError
from blockyard.ids import TaskId, task_name
from blockyard.monitoring import history_of
from blockyard.remote import RemoteEngine
from blockyard.suggestion import nearest
from blockyard.wire import control, hosted
from blockyard.workflow import files, running
from blockyard.workflow.schema import json_schema
from blockyard.workflow.spec import RUN_KIND, Document, Metadata

F = TypeVar("F", bound=Callable[..., Any])
STATES = ("Waiting", "Queued", "Running", "Stopped", "Succeeded", "Skipped", "Failed", "Cancelled")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_LOOK_SECONDS = 0.5
_GOES_ON = running.GOES_ON


@click.command(epilog="Examples: blockyard lint flow.yaml; blockyard lint --schema > workflow.schema.json")
@options.output
@click.argument("paths", nargs=-1, type=_FILE, metavar="FILE...")
@click.option("--schema", is_flag=True, help="Print the JSON schema of workflow files instead, for editors.")
@options.pass_call
def lint(call: Call, paths: tuple[Path, ...], schema: bool) -> int:  # noqa: FBT001 - click hands options over by name
    """Say all that is wrong with workflow files; nothing is run, and no interchange is asked."""
    if schema:
        click.echo(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())
        return Exit.DONE
    if not paths:
        raise click.UsageError("give the files to look at, or --schema")
    found = [(path, fault) for path in paths for fault in files.check(path)[1]]
    view = views.LintView(faults=[views.FaultView(file=str(p), path=f.path, reason=f.reason) for p, f in found])
    lines = [f"{path}: {fault}" for path, fault in found]
    noun = "file" if len(paths) == 1 else "files"
    show.answer(call.settings.output, view, *(lines or [f"{len(paths)} {noun} in order"]))
    return Exit.FOUND_FAULTS if found else Exit.DONE


@click.command(epilog="Examples: blockyard run flow.yaml -a n=5; blockyard run flow.yaml --workers 4 --name try-2")
@options.connected
@click.argument("path", type=_FILE, metavar="FILE")
@click.option("-a", "--argument", "arguments", multiple=True, metavar="NAME=VALUE",
              help="Value of a parameter, as JSON or as text; may be given several times.")  # fmt: skip
@click.option("--name", default="", help="Of the run; the file's own when not given.")
@click.option("--workers", type=click.IntRange(min=1), default=None, metavar="N",
              help="Run it here with so many workers, though the profile names an interchange.")  # fmt: skip
@click.option("--again", is_flag=True, help="Forget the run of this name, if it has ended, and start anew.")
@click.option("--wfformat", is_flag=True, help="FILE is a trace in WfCommons' WfFormat: take the time its tasks took.")
@click.option(
    "--scale", type=options.Number(0.0, 1e6), default=1.0, metavar="X", help="Of a trace: take X times as long."
)
@click.option("--execute", is_flag=True, help="Of a trace: run the programs that it names.")
@click.option("--monitoring", is_flag=True,
              help="With workers of this machine: keep its history, for report, artefacts and config.")  # fmt: skip
@click.option("--detach", is_flag=True, help="Do not wait for its end; only where the interchange goes on without us.")
@options.pass_call
def run(  # noqa: PLR0913, PLR0917 - click hands options over by name
    call: Call,
    path: Path,
    arguments: tuple[str, ...],
    name: str,
    workers: int | None,
    again: bool,  # noqa: FBT001
    wfformat: bool,  # noqa: FBT001
    scale: float,
    execute: bool,  # noqa: FBT001
    monitoring: bool,  # noqa: FBT001
    detach: bool,  # noqa: FBT001
) -> int:
    """Run a workflow file: on the profile's interchange or, where none is running, with workers of this machine.

    A run that was started before under its name is found as it is: what has ended is not run again.
    """
    if not wfformat and (execute or scale != 1.0):
        raise click.UsageError("--scale and --execute are for traces; say --wfformat, too")
    document = _trace(path, scale, execute=execute) if wfformat else files.read_run(path)
    name = name or document.metadata.name or f"{document.metadata.generate_name}{secrets.token_hex(3)}"
    sys.path.insert(0, os.getcwd())  # functions are imported as `python -m` here would
    if monitoring and not _is_our_own(call, workers):
        raise click.UsageError(
            "--monitoring is for workers of this machine, and an interchange runs; say --workers, too"
        )
    nodes = document.spec.nodes_wanted
    with _engine(call, name, workers, nodes, detach=detach, monitoring=monitoring) as engine:
        if again:
            _forget(engine, name)
        started = running.start(engine, document.spec, name, _arguments(document, arguments))
        if detach:
            view = _run_view(started.status(limit=0).line)
            show.answer(call.settings.output, view, f"run {name!r} is {view.phase}; see: blockyard steps {name}")
            return Exit.DONE
        try:
            started.wait(on_look=_progress(call))
        except KeyboardInterrupt:
            goes_on = "is kept: run it again to go on with it" if _is_our_own(call, workers) else "goes on"
            click.echo(f"run {name!r} {goes_on}; 'blockyard cancel --run {name}' ends it", err=True)
            raise
        return _show_end(call, started)


def _trace(path: Path, scale: float, *, execute: bool) -> Document:
    from blockyard.workflow import wfformat

    name, spec = wfformat.read(path, scale=scale, execute=execute)
    return Document(kind=RUN_KIND, metadata=Metadata(name=name), spec=spec)


def _is_our_own(call: Call, workers: int | None) -> bool:
    """Whether a run has an interchange of its own, which ends with us."""
    return workers is not None or kept.is_needed(call)


@contextmanager
def _engine(
    call: Call, name: str, workers: int | None, nodes: int, *, detach: bool = False, monitoring: bool = False
) -> Iterator[running.Engine]:
    """The profile's interchange if one is running there, else one of our own, whose journal is the run's, with one
    block of so many workers and nodes; once with monitoring, always so."""
    if not _is_our_own(call, workers):
        with asking(call) as interchange:
            yield interchange.engine
        return
    if detach:
        raise click.UsageError("--detach needs an interchange that goes on: blockyard local up, then say it again")
    from blockyard.client import Client  # what starts systems, which most commands do not

    each, folder = math.ceil((workers or len(os.sched_getaffinity(0))) / nodes), kept.folder_of(name)
    is_monitored = monitoring or bool(history_of(folder))
    is_new, is_there = not folder.exists(), True
    try:
        with Client.local(each, nodes_per_block=nodes, folder=folder, monitoring=is_monitored or None) as client:
            assert isinstance(client._engine, RemoteEngine)
            afterwards.unsettle(folder)
            try:
                yield client._engine
            finally:
                is_there = afterwards.write(client._engine, name, folder)
    finally:
        if is_new and not is_there:  # it was refused
            shutil.rmtree(folder, ignore_errors=True)


def _forget(engine: running.Engine, name: str) -> None:
    try:
        engine.ask(hosted.Run(name, [], 0), hosted.RunIs)
    except BlockyardError:
        return  # there is none
    running.WorkflowRun(engine, name).forget()
    afterwards.forget(kept.folder_of(name))


def _arguments(document: Document, given: tuple[str, ...]) -> dict[str, Any]:
    """Texts for parameters that are texts, JSON for others."""
    kinds = {one.name: one.type for one in document.spec.parameters}
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--argument {text!r}: write NAME=VALUE")
        if kinds.get(name) == "string":
            found[name] = value
            continue
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value
    return found


def _progress(call: Call) -> Any:
    """Prints a line when counts change, for people only."""
    last: list[dict[str, int]] = [{}]

    def look(seen: hosted.RunIs) -> None:
        if call.settings.output is config.Output.TABLE and seen.line.counts != last[0]:
            last[0] = dict(seen.line.counts)
            click.echo(f"{seen.line.phase}: {_counts(seen.line.counts)}", err=True)

    return look


def _show_end(call: Call, started: running.WorkflowRun) -> int:
    seen = started.status(limit=1000)
    view = views.StepsView(run=_run_view(seen.line), steps=[_step_view(one) for one in seen.steps])
    show.answer(call.settings.output, view, _step_table(view.steps), f"run {started.name!r} {seen.line.phase}")
    return Exit.DONE if seen.line.phase == "Succeeded" else Exit.FOUND_FAULTS


@click.command(epilog="Example: blockyard runs -o json")
@options.connected
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@options.pass_call
def runs(call: Call, limit: int) -> None:
    """List the workflow runs that the interchange keeps, youngest first; where none runs, those of `blockyard run`."""
    if kept.is_needed(call):
        found = kept.lines(call, limit)
    else:
        with asking(call) as interchange:
            found = interchange.ask(hosted.Runs(limit), hosted.RunsAre).runs
    view = views.RunsView(runs=[_run_view(one) for one in found])
    rows = [(one.run, one.phase, show.since(one.started_at), _counts(one.counts)) for one in view.runs]
    show.answer(call.settings.output, view, show.Table(("RUN", "PHASE", "AGE>", "STEPS"), rows, "no runs"))


def choosing_steps(command: F) -> F:
    """The options of `steps`."""
    watching = "Show them again every half second, until the run's end or Ctrl-C."
    most = click.IntRange(1, 1_000_000)
    for add in (
        click.option("-w", "--watch", is_flag=True, help=watching),
        click.option("--limit", default=100, show_default=True, type=most, help="At most so many."),
        click.option("--state", "states", multiple=True, type=click.Choice(STATES, case_sensitive=False),
                     help="Only steps in this state; may be given several times."),
    ):  # fmt: skip
        command = add(command)
    return command


@click.command(epilog="Example: blockyard steps pipeline --state failed")
@options.connected
@click.argument("run")
@choosing_steps
@options.pass_call
def steps(call: Call, run: str, states: tuple[str, ...], limit: int, watch: bool) -> None:  # noqa: FBT001
    """List the steps of a run: how each stands, why it failed or was skipped, what it declared."""
    with kept.asking_about(call, run) as interchange:
        show_steps(interchange, call.settings.output, run, states, limit, watch=watch)


def show_steps(
    interchange: Asking, output: config.Output, run: str, states: tuple[str, ...], limit: int, *, watch: bool
) -> None:
    """Answer `steps`; again and again when `watch` is set, until the run's end."""
    while True:
        seen = interchange.ask(hosted.Run(run, [one.capitalize() for one in states], limit), hosted.RunIs)
        view = views.StepsView(run=_run_view(seen.line), steps=[_step_view(one) for one in seen.steps])
        if watch and sys.stdout.isatty():
            click.clear()
        sentence = f"run {run!r} is {seen.line.phase}: {_counts(seen.line.counts)}"
        show.answer(output, view, sentence, _step_table(view.steps))
        if not watch or seen.line.phase not in running.GOES_ON:
            return
        time.sleep(_LOOK_SECONDS)


@click.command(epilog="Example: blockyard logs pipeline fit")
@options.connected
@click.argument("run")
@click.argument("step")
@options.pass_call
def logs(call: Call, run: str, step: str) -> None:
    """Show the end of what a step of a run has printed, as far as that is kept; of a sweep, what made it fail."""
    with kept.asking_about(call, run) as interchange:
        show_logs(interchange, call.settings.output, run, step)


def show_logs(interchange: Asking, output: config.Output, run: str, step: str) -> None:
    """Answer `logs`."""
    from blockyard.cli.tasks import printed_by, show_printed

    task = afterwards.printer_of(_step_of(interchange, run, step))
    tries, folder = printed_by(interchange, task), interchange.target.folder
    if not tries and folder is not None:
        tries = afterwards.printed(folder).get(step, [])
    show_printed(output, task, tries)


def _step_of(interchange: Asking, run: str, step: str) -> hosted.StepLine:
    seen = interchange.ask(hosted.Run(run, [], 1_000_000), hosted.RunIs)
    known = {one.name: one for one in seen.steps}
    if step not in known:
        raise NotFound(f"run {run!r} has no step {step!r}{nearest(step, known)}")
    return known[step]


@click.command(epilog="Example: blockyard retry flow.yaml --name pipeline")
@options.connected
@click.argument("path", type=_FILE, metavar="FILE")
@click.option("--name", default="", help="Of the run; the file's own when not given.")
@click.option("-a", "--argument", "arguments", multiple=True, metavar="NAME=VALUE",
              help="Value of a parameter, as it was given to run.")  # fmt: skip
@options.pass_call
def retry(call: Call, path: Path, name: str, arguments: tuple[str, ...]) -> int:
    """Run again what has failed of a run, with what follows from it, on the results of what has succeeded."""
    document = files.read_run(path)
    name = name or document.metadata.name
    if not name:
        raise click.UsageError(f"{path} has a generateName; say --name, by which the run is known")
    spec = running.checked(document.spec, name, _arguments(document, arguments))
    sys.path.insert(0, os.getcwd())  # as run does
    with _engine(call, name, None, spec.nodes_wanted) as engine:
        again = running.retry(engine, spec, name)
        again.wait(on_look=_progress(call))
        return _show_end(call, again)


@click.command(epilog="Examples: blockyard suspend pipeline; blockyard suspend pipeline --running")
@options.connected
@click.argument("run")
@click.option("--running", is_flag=True, help="Stop its programs that run, too, until it is resumed.")
@options.pass_call
def suspend(call: Call, run: str, running: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Start nothing more of a run; what runs goes on."""
    _hold(call, run, held=True, running=running)


@click.command(epilog="Example: blockyard resume pipeline")
@options.connected
@click.argument("run")
@options.pass_call
def resume(call: Call, run: str) -> None:
    """Go on with a run that was suspended."""
    _hold(call, run, held=False)


def _hold(call: Call, run: str, *, held: bool, running: bool = False) -> None:
    with kept.asking_about(call, run) as interchange:
        phase = interchange.ask(hosted.Run(run, [], 0), hosted.RunIs).line.phase
        if phase not in _GOES_ON:
            raise Faulty(f"run {run!r} has ended: {phase}; 'blockyard retry FILE' runs again what has not succeeded")
        count = interchange.ask(hosted.HoldRun(run, held, running), control.Done).count
    what = "suspended" if held else "goes on"
    show.answer(call.settings.output, views.CountView(count=count), f"run {run!r} {what}")


def cancel_run(interchange: Asking, run: str) -> int | None:
    """Cancel a workflow run, at last its exit step, too; None when this is none."""
    try:
        count = interchange.ask(hosted.EndRun(run), control.Done).count
        return count or interchange.ask(hosted.EndRun(run, exits=True), control.Done).count
    except NotFound:
        return None


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts.get(state)) or "none"


def _run_view(line: hosted.RunLine) -> views.RunView:
    return views.RunView(
        run=line.run, phase=line.phase, started_at=line.at, ended_at=line.ended_at, counts=dict(line.counts)
    )


def _step_view(line: hosted.StepLine) -> views.StepView:
    outputs = msgspec.json.decode(line.outputs) if line.outputs else {}
    return views.StepView(
        step=line.name,
        task=task_name(TaskId(line.task)),
        state=line.state,
        seconds=line.seconds,
        message=line.message,
        outputs=outputs,
        parts=line.parts,
        open_parts=line.open_parts,
    )


def _step_table(lines: list[views.StepView]) -> show.Table:
    rows = [(one.step, one.state, _time(one), one.task, _says(one)) for one in lines]
    return show.Table(("STEP", "STATE", "TIME>", "TASK", "SAYS"), rows, "no steps")


def _time(step: views.StepView) -> str:
    """What it took or has taken; nothing of what has not begun, or whose parts take it."""
    return show.seconds_of(step.seconds) if step.seconds or step.state in ("Succeeded", "Failed") else ""


def _says(step: views.StepView) -> str:
    if step.message:
        return step.message
    if step.parts:
        return f"{step.parts - step.open_parts} of {step.parts} parts have ended"
    return ", ".join(f"{name}={value!r}" for name, value in step.outputs.items())[:200]
