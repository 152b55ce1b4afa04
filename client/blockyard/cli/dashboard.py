"""``blockyard dashboard``: this process becomes the web server of the page."""

import os
from collections.abc import Mapping
from pathlib import Path

import click

from blockyard import connect
from blockyard.cli import options
from blockyard.cli.options import Call
from blockyard.cli.programs import become
from blockyard.errors import ConfigError

DATABASE_VARIABLE = "BLOCKYARD_MONITORING_DATABASE"
"""By which the page is told of a database: its URL may hold a password, and arguments are everybody's to see."""


@click.command(
    epilog="""\b
Examples:
  blockyard dashboard
  blockyard dashboard ~/.local/state/blockyard/runs/nightly
  blockyard dashboard sqlite:////var/tmp/history.db --listen 127.0.0.1:8080
"""
)
@options.connected
@click.argument("where", required=False, metavar="[FOLDER|URL]")
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT",
              help="Where to listen; port 0 is one that is free.")  # fmt: skip
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="File with the token that lets in; needed where others can connect.")  # fmt: skip
@click.option("--stream", default="", metavar="PATH|HOST:PORT", help="The hub's stream, where it is not the folder's.")
@click.option("--stream-token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="File with the token of a stream on a port.")  # fmt: skip
@options.pass_call
def dashboard(
    call: Call, where: str | None, listen: str, token_file: Path | None, stream: str, stream_token_file: Path | None
) -> None:
    """Serve the page on what happens and happened, until Ctrl-C. Prints the address to open.

    Of a state folder of a system with monitoring, or of the database of this URL; without it, that of the profile.
    """
    named, environment = _history(call, where)
    files = (("--token-file", token_file), ("--stream-token-file", stream_token_file))
    given = [word for name, path in files if path is not None for word in (name, str(path))]
    words = [*named, "--listen", listen, *given, *(("--stream", stream) if stream else ())]
    become("blockyard_monitoring.page", "monitoring", words, environment)


def _history(call: Call, where: str | None) -> tuple[list[str], Mapping[str, str]]:
    """Arguments, and variables, that name the history."""
    if where is not None and "://" in where:
        return [], {DATABASE_VARIABLE: where}
    folder = Path(where).expanduser() if where is not None else connect.find(None, call.settings).folder
    if folder is None:
        raise ConfigError(
            f"dashboard: {call.settings.profile!r} is not on this machine; give the URL of the history's database, "
            "for example postgresql://me@host/blockyard"
        )
    if not folder.is_dir():
        raise ConfigError(f"dashboard: {folder} is no folder; give a state folder, or the URL of a database")
    environment = {name: "" for name in (DATABASE_VARIABLE,) if name in os.environ}  # the folder was asked for
    return ["--folder", str(folder.absolute())], environment


__all__ = ["dashboard"]
