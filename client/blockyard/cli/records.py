"""``blockyard config``: what a managed task ran with, as a file that runs it again."""

from pathlib import Path

import click
import msgspec

from blockyard import yaml_text
from blockyard.cli import history, options, show
from blockyard.cli.deployables import load
from blockyard.cli.exits import NotFound
from blockyard.cli.options import Call
from blockyard.config import Output
from blockyard.errors import ConfigError
from blockyard.ids import parse_task_name
from blockyard.managed.again import remarks, spec_again
from blockyard.managed.recording import RECORD_NAME
from blockyard.managed.records import AnalysisConfig
from blockyard.suggestion import nearest


@click.command(
    epilog="""\b
Examples:
  blockyard config nightly index > again.yaml && blockyard task run -c again.yaml
  blockyard config 1f3a-42 -o json
  blockyard config ./kept/record.json
"""
)
@options.connected
@click.argument("what", nargs=-1, required=True, metavar="RUN STEP | TASK | FILE")
@history.database_option
@options.pass_call
def config(call: Call, what: tuple[str, ...], database: str) -> None:
    """Show what a managed task ran with, as YAML that `blockyard task run -c` runs again.

    Of a step of a run or of a task, from the history; or of a FILE or folder where its record was kept. With -o json,
    its whole record.
    """
    if len(what) > 2:
        raise click.UsageError("give RUN STEP, or a TASK, or a FILE")
    found = _kept(Path(what[0])) if len(what) == 1 and Path(what[0]).exists() else _told(call, what, database)
    lines = "".join(f"# {show.printable(line)}\n" for line in remarks(found))
    show.answer(call.settings.output, found, lines + yaml_text.text_of(spec_again(found), "managed").rstrip("\n"))


def _told(call: Call, what: tuple[str, ...], database: str) -> AnalysisConfig:
    url = history.database(call, "config", database, what[0] if len(what) == 2 else "")
    reader = load("blockyard_monitoring.history.configs", "monitoring")
    if len(what) == 2:
        told = reader.of_step(url, *what)
    else:
        try:
            task = parse_task_name(what[0])
        except ValueError as error:
            raise click.UsageError(f"{error}; nor is there a file of that name") from error
        told = reader.of_task(url, task)
    if not told:
        known = reader.steps(url, what[0]) if len(what) == 2 else []
        kept = f"result (`ManagedResult.record`), and in {RECORD_NAME} of its folder if it had one"
        near = nearest(what[-1], known, 20, then=f"Without monitoring, the record is in its {kept}")
        raise NotFound(f"{' '.join(what)}: the history knows of no managed task there{near}")
    if len(told) > 1 and call.settings.output is not Output.JSON:
        click.echo(f"{len(told)} managed tasks ran there; this is the last", err=True)
    last = told[-1]
    record = _read(last.record, "the history")
    message = last.message or record.message
    return msgspec.structs.replace(record, status=last.status, reason=last.reason, message=message)


def _kept(path: Path) -> AnalysisConfig:
    path = path / RECORD_NAME if path.is_dir() else path
    try:
        return _read(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config: {path}: {error}") from error


def _read(text: str, where: str) -> AnalysisConfig:
    try:
        return msgspec.json.decode(text, type=AnalysisConfig)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"config: {where}: it is no record of a managed task: {error}") from error
