"""``blockyard local up``, ``down`` and ``status``: systems of this machine that outlive their clients."""

import os
import select
import shutil
import signal
from pathlib import Path

import click

from blockyard import config, connect, monitoring, supervise
from blockyard.blocks.pool import LocalPool
from blockyard.cli import options, show, views
from blockyard.cli.commands import Listing
from blockyard.cli.exits import Faulty, NotFound
from blockyard.cli.options import Call
from blockyard.cli.pool_spec import read_pool
from blockyard.errors import BlockyardError, ConfigError
from blockyard.pidfile import SystemInUse, ended_in_order, holder_of, is_system
from blockyard.suggestion import nearest

name_option = options.flag(
    "local.name", "--name", metavar="NAME", help="Which system; the profile that leads to it has the same name.",
    shell_complete=options.complete_profiles,
)  # fmt: skip


@click.group(
    cls=Listing, epilog="Examples: blockyard local up --workers 4; blockyard local status; blockyard local down"
)
def local() -> None:
    """Start, end and list systems on this machine."""


@local.command(
    epilog="""\b
Examples:
  blockyard local up --workers 4
  blockyard local up --name lab --pool cpu=workers=8,max_blocks=4 --pool gpu=workers=1,accelerators=2
  blockyard local up --metrics 127.0.0.1:9300 --monitoring
"""
)
@name_option
@options.output
@options.flag("local.workers", "-n", "--workers", type=click.IntRange(min=1), metavar="N",
              help="Workers of pool 'default', in one block.")  # fmt: skip
@click.option("--pool", "pools", multiple=True, metavar="NAME=SPEC",
              help="NAME=8 for 8 workers in one block, or NAME=FIELD=VALUE,… with LocalPool's fields.")  # fmt: skip
@options.flag("local.metrics", "--metrics", metavar="HOST:PORT", help="Serve Prometheus metrics there.")
@options.flag("local.journal", "--journal", metavar="URL", help="Another journal than SQLite in the state folder.")
@options.flag("local.monitoring", "--monitoring", metavar="[URL]", is_flag=False, flag_value="on",
              help="Keep every task's history, in the state folder or in this database; 'off' ends that.")  # fmt: skip
@click.option("--path", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder that workers import modules from; the current one when not given.")  # fmt: skip
@click.option("--foreground", is_flag=True, help="Stay in the foreground, for systemd and containers.")
@options.pass_call
def up(call: Call, pools: tuple[str, ...], path: tuple[Path, ...], foreground: bool) -> None:  # noqa: FBT001 - click's
    """Start a system that outlives this terminal, or resume the one of this name with all its tasks.

    What is not given is as it was the last time that it came up.
    """
    settings = call.settings
    folder = config.system_folder(settings.local.name)
    holder = holder_of(folder)
    if holder is not None:
        raise SystemInUse(str(folder), holder.pid)
    crashed = is_system(folder) and not ended_in_order(folder)
    system = _system(settings, [read_pool(text) for text in pools], path, supervise.read_system(folder))
    supervise.prepare(folder)
    if foreground:
        raise click.exceptions.Exit(supervise.run(folder, system))
    words = supervise.start_daemon(folder, system)
    if isinstance(words, supervise.Failed):
        if words.pid:
            raise SystemInUse(str(folder), words.pid)
        raise Faulty(f"system {system.name!r} did not come up: {words.message}")
    view = _view(system.name)
    show.answer(settings.output, view, *_welcome(system, words, folder, crashed=crashed))


def _system(
    settings: config.Settings,
    given: list[tuple[str, LocalPool]],
    path: tuple[Path, ...],
    last: supervise.System | None,
) -> supervise.System:
    """What to start: flags before settings before what it was the last time before defaults."""
    asked = settings.local
    pools = dict(given) or dict(asked.pools)
    if pools and asked.workers is not None and "local.workers" in settings.places:
        raise ConfigError(
            f"local.workers (from {settings.places['local.workers']}) is for pool 'default' alone, and pools "
            f"{show.listed(pools)} are given; use one of the two"
        )
    if pools:
        tables = {name: supervise.table_of(pool) for name, pool in pools.items()}
    elif last is not None and asked.workers is None:
        tables = last.pools
    else:
        tables = {"default": supervise.table_of(one_block(asked.workers or len(os.sched_getaffinity(0))))}
    monitored = asked.monitoring or (last.monitoring if last is not None else "")
    monitoring.of_word(monitored)  # what is not installed is said here, not in a log
    folders = tuple(str(one.absolute()) for one in path) or (str(Path.cwd()),)
    return supervise.System(
        name=asked.name,
        pools=tables,
        metrics=asked.metrics or (last.metrics if last is not None else ""),
        journal=asked.journal or (last.journal if last is not None else ""),
        monitoring=monitored,
        path=folders,
    )


def one_block(workers: int) -> LocalPool:
    """A pool of one block that is always there, as `Client.local(workers)` has it."""
    return LocalPool(workers_per_node=workers, min_blocks=1, init_blocks=1, max_blocks=1)


def _welcome(
    system: supervise.System, ready: supervise.Ready, folder: Path, *, crashed: bool
) -> list[show.Table | str]:
    lines = [f"system {system.name!r} is up (process {ready.pid}), pools: {show.listed(system.pools)}"]
    if crashed:
        lines.append("its last supervisor was killed; the journal is resumed")
    if ready.strays:
        lines.append(f"ended what that had left running: {show.listed(ready.strays)}")
    if ready.tasks:
        lines.append(f"{ready.tasks} tasks came back from the journal")
    profile = "" if system.name == config.Settings().profile else f" -p {system.name}"
    lines += [
        f'  use it:   Client.connect("{system.name}")',
        f"  watch it: blockyard status{profile}",
        f"  end it:   blockyard local down{profile and ' --name ' + system.name}",
        f"  its log:  {folder / supervise.LOG_NAME}",
    ]
    if system.monitoring not in ("", "off"):
        lines.append(f"  its page: blockyard dashboard{profile}")
    return [*lines]


@local.command(epilog="Examples: blockyard local down; blockyard local down --name lab --remove")
@name_option
@options.output
@click.option("--grace", default=60.0, show_default=True, type=options.Number(0, options.MOST_SECONDS),
              help="Seconds until it is killed.")  # fmt: skip
@click.option("--remove", is_flag=True, help="Also remove its state folder: journal, results and keys.")
@options.pass_call
def down(call: Call, grace: float, remove: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """End a system. Its tasks stay in the journal, and go on with the next 'up'.

    One whose history cannot be written waits 20 s for that to be possible after all.
    """
    name = call.settings.local.name
    folder = config.system_folder(name)
    if not is_system(folder):
        raise NotFound(f"system {name!r} does not exist{nearest(name, config.systems())}")
    holder = holder_of(folder)
    lines = [f"system {name!r} was not running"] if holder is None else [_end(name, folder, holder.pid, grace)]
    if remove:
        shutil.rmtree(folder)
        lines.append(f"{folder} is removed")
    view = views.SystemView(name=name, state="removed", pid=0, since=0.0, folder=str(folder), endpoint="", url="")
    show.answer(call.settings.output, view if remove else _view(name), *lines)


def _end(name: str, folder: Path, pid: int, grace: float) -> str:
    if _signal(pid, signal.SIGTERM, grace):
        return f"system {name!r} has ended"
    # Its children end with it: the kernel sees to that. What outlives them is ended by the next start.
    if not _signal(pid, signal.SIGKILL, 5.0):
        raise Faulty(f"process {pid} of system {name!r} was killed and is still there; see {folder}")
    return f"system {name!r} did not end within {grace:g} s and was killed; the next 'up' resumes its journal"


def _signal(pid: int, number: signal.Signals, patience: float) -> bool:
    """Send a signal, and wait for the process's end; False when it does not end in time."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(pidfd, number)
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        return bool(poller.poll(patience * 1000))
    except ProcessLookupError:
        return True
    finally:
        os.close(pidfd)


@local.command(epilog="Example: blockyard local status -o json")
@click.option("--name", default=None, metavar="NAME", help="Only this system.")
@options.output
@options.pass_call
def status(call: Call, name: str | None) -> None:
    """List the systems of this machine, running or not."""
    names = config.systems() if name is None else [name]
    if name is not None and not is_system(config.system_folder(name)):
        raise NotFound(f"system {name!r} does not exist{nearest(name, config.systems())}")
    lines = [_view(one) for one in names]
    rows = [(line.name, line.state, line.pid or "-", show.since(line.since), line.url or line.folder) for line in lines]
    columns = ("SYSTEM", "STATE", "PROCESS>", "SINCE>", "URL")
    empty = "no systems here; 'blockyard local up' starts one"
    show.answer(call.settings.output, lines, show.Table(columns, rows, empty))


def _view(name: str) -> views.SystemView:
    folder = config.system_folder(name)
    holder = holder_of(folder)
    if holder is not None:
        state = "running" if holder.ready else "starting"
    else:
        state = "stopped" if ended_in_order(folder) else "crashed"
    try:
        target: connect.Target | None = connect.of_folder(folder, name)
    except BlockyardError:
        target = None  # it never came as far as that
    return views.SystemView(
        name=name,
        state=state,
        pid=holder.pid if holder is not None else 0,
        since=holder.started_at if holder is not None else 0.0,
        folder=str(folder),
        endpoint=target.endpoint if target is not None else "",
        url=target.url if target is not None else "",
    )
