"""``blockyard artefacts``: what a run's managed tasks left to be looked at."""

import re
import sys
from pathlib import Path
from typing import Any

import click

from blockyard.cli import history, options, show
from blockyard.cli.deployables import load
from blockyard.cli.exits import NotFound
from blockyard.cli.options import Call
from blockyard.errors import ConfigError
from blockyard.private_files import write_private

_SHOWABLE = ("text/", "application/json")


@click.command(
    epilog="""\b
Examples:
  blockyard artefacts nightly
  blockyard artefacts nightly summary
  blockyard artefacts nightly --to ./nightly
"""
)
@options.connected
@click.argument("run")
@click.argument("name", required=False, default="")
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Write them there.")
@history.database_option
@options.pass_call
def artefacts(call: Call, run: str, name: str, to: Path | None, database: str) -> None:
    """List figures, values and files of a run's managed tasks; print those called NAME, or write them to a FOLDER."""
    url = history.database(call, "artefacts", database, run)
    reader = load("blockyard_monitoring.history.artefacts", "monitoring")
    found = [one for one in reader.of_run(url, run) if name in ("", one.name)]
    if name and not found:
        raise NotFound(f"run {run!r}: the history knows of no artefact {name!r}; 'blockyard artefacts {run}' lists all")
    if to is not None:
        kept = [one for one in found if one.is_kept]
        for one in kept:
            _write(to / _safe(f"{one.step}-{one.task_id}") / _safe(one.name), reader.read(url, one))
        click.echo(f"{len(kept)} of {len(found)} artefacts are in {to}; the others' content is not kept")
    elif name:
        for one in found:
            _print(one, reader.read(url, one))
    else:
        columns = ("STEP", "TASK", "NAME", "KIND", "SIZE>", "KEPT")
        rows = [
            (one.step, one.task_id, one.name, one.kind, show.bytes_of(one.size_bytes), "yes" if one.is_kept else "no")
            for one in found
        ]  # fmt: skip
        show.answer(call.settings.output, found, show.Table(columns, rows, "no artefacts"))


def _print(one: Any, data: bytes) -> None:
    """Text for a terminal; everything as it is for a pipe."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(data)
    elif one.media.startswith(_SHOWABLE):
        click.echo(show.printable(data.decode(errors="replace")))
    else:
        raise ConfigError(f"artefacts: {one.name!r} is {one.media}; write it with --to FOLDER, or into a pipe")


def _safe(name: str) -> str:
    """A name of others as that of a file here."""
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "_"


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, data)
    except OSError as error:
        raise ConfigError(f"artefacts: {path}: {error.strerror}") from error
