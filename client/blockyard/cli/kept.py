"""Runs that `blockyard run` made with workers of its own: their interchange, while they go on and afterwards."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec

from blockyard import connect, nearness
from blockyard.cli import afterwards
from blockyard.cli.asking import Asking, asking
from blockyard.cli.exits import NotFound
from blockyard.cli.options import Call
from blockyard.errors import BrokenBlockyard, ConfigError
from blockyard.pidfile import holder_of
from blockyard.private_files import write_private
from blockyard.state_folder import INTERCHANGE_SETTINGS, folder_name, lock_folder, state_home
from blockyard.suggestion import nearest
from blockyard.wire import hosted

_STOP_SECONDS = 5.0


def folder_of(run: str) -> Path:
    """Where `blockyard run` keeps a run's journal. Raises ConfigError for a name that leads elsewhere."""
    return state_home() / "workflows" / folder_name("run", run, "a run")


def names() -> list[str]:
    """Of the runs that are kept."""
    return sorted(path.parent.name for path in (state_home() / "workflows").glob(f"*/{INTERCHANGE_SETTINGS}"))


def is_needed(call: Call) -> bool:
    """Whether the settings lead to no interchange, so that runs are kept by themselves.

    Raises ConfigError when they name one that is none.
    """
    is_named = "profile" in call.settings.places
    try:
        folder = connect.find(None, call.settings).folder
    except ConfigError:
        if is_named:
            raise
        return True
    return not is_named and folder is not None and holder_of(folder) is None


@contextmanager
def asking_about(call: Call, run: str) -> Iterator[Asking]:
    """The interchange that knows a run: that of the settings or, where none runs or knows it, the run's own.

    Raises NotFound when there is no such run either.
    """
    known = names()
    if not is_needed(call):
        with asking(call) as interchange:
            if run not in known or "profile" in call.settings.places or _knows(interchange, run):
                yield interchange
                return
    elif run not in known:
        near = nearest(run, known, then="Runs on another interchange are found by --profile")
        raise NotFound(f"no interchange runs here, and 'blockyard run' keeps no run {run!r}{near}")
    with _opened(call, run) as interchange:
        yield interchange


@contextmanager
def _opened(call: Call, run: str) -> Iterator[Asking]:
    folder = folder_of(run)
    goes_on = connect.answers(folder)
    with nullcontext() if goes_on else _reopened(folder), asking(call, folder) as interchange:
        yield interchange
        if not goes_on and _knows(interchange, run):  # it may have been cancelled, or held
            afterwards.write_line(interchange.engine, run, folder)


def lines(call: Call, limit: int) -> list[hosted.RunLine]:
    """How the runs that are kept stand, at most `limit`, youngest first. Raises BrokenBlockyard when there is none."""
    known = names()
    if not known:
        raise BrokenBlockyard(
            "no interchange runs here, and 'blockyard run' keeps none. 'blockyard local up' starts one"
        )
    known.sort(key=lambda one: (folder_of(one) / INTERCHANGE_SETTINGS).stat().st_mtime, reverse=True)
    found = (line for one in known if (line := _line(call, one)) is not None)
    return list(itertools.islice(found, limit))


def _line(call: Call, run: str) -> hosted.RunLine | None:
    """None of a run that was refused, so that there is nothing but its folder."""
    if (found := afterwards.stood(folder_of(run))) is not None:
        return found
    with _opened(call, run) as interchange:
        try:
            return interchange.ask(hosted.Run(run, [], 0), hosted.RunIs).line
        except NotFound:
            return None


def _knows(interchange: Asking, run: str) -> bool:
    try:
        interchange.ask(hosted.Run(run, [], 0), hosted.RunIs)
    except NotFound:
        return False
    return True


@contextmanager
def _reopened(folder: Path) -> Iterator[None]:
    """Its interchange, without workers: nothing of the run goes on meanwhile."""
    from blockyard.interchange_process import InterchangeProcess  # what starts systems, which most commands do not

    lock = lock_folder(folder)
    path = folder / INTERCHANGE_SETTINGS
    settings = msgspec.json.decode(path.read_bytes())
    write_private(path, msgspec.json.encode(settings | {"parent": os.getpid()}))
    nearness.ensure(Path(settings["core"]["blobs"]))
    interchange = InterchangeProcess(folder)
    interchange.start()
    try:
        interchange.begin()
        yield
    finally:
        interchange.stop(_STOP_SECONDS)
        os.close(lock)
