"""``blockyard report``: a run in numbers, as one file."""

import sys
from pathlib import Path

import click

from blockyard.cli import history, options, show
from blockyard.cli.deployables import load
from blockyard.cli.exits import NotFound
from blockyard.cli.options import Call
from blockyard.config import Output
from blockyard.errors import ConfigError
from blockyard.private_files import write_private

FORMS = ("markdown", "html")


@click.command(
    epilog="""\b
Examples:
  blockyard report nightly
  blockyard report nightly --to nightly.html
  blockyard report nightly --database postgresql://me@db/history -o json
"""
)
@options.connected
@click.argument("run")
@history.database_option
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it there.")
@click.option("--as", "form", type=click.Choice(FORMS), help="What to write; by FILE's ending when not given.")
@options.pass_call
def report(call: Call, run: str, database: str, to: Path | None, form: str | None) -> None:
    """Say how a run went: counts, rates, where time went, slowest functions, failures by cause, utilisation."""
    url = history.database(call, "report", database, run)
    reader = load("blockyard_monitoring.report", "monitoring")
    try:
        if call.settings.output is Output.JSON:
            show.answer(Output.JSON, reader.summarise(url, run))
            return
        is_html = form == "html" or (form is None and to is not None and to.suffix in (".html", ".htm"))
        text: str = reader.report(url, run, "html" if is_html else "markdown")
    except ConfigError as error:
        raise NotFound(str(error)) from error
    if to is None:
        sys.stdout.write(text)
        return
    try:
        write_private(to, text.encode())
    except OSError as error:
        raise ConfigError(f"report: {to}: {error.strerror}") from error
    click.echo(f"{to} is written")
