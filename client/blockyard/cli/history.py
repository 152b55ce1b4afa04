"""Where a command finds the history."""

import click

from blockyard import connect
from blockyard.cli import kept
from blockyard.cli.options import Call
from blockyard.errors import BlockyardError, ConfigError
from blockyard.monitoring import database_of, history_of

database_option = click.option(
    "--database", default="", metavar="URL", help="The history; without it, that of the profile's system."
)


def database(call: Call, command: str, given: str, run: str = "") -> str:
    """The URL that was given, that of a run of `blockyard run` where no interchange runs, or that of the profile's
    system. Raises ConfigError, beginning with the command."""
    if given:
        return given
    if run and kept.is_needed(call) and run in kept.names():
        if url := history_of(kept.folder_of(run)):
            return url
        raise ConfigError(f"{command}: run {run!r} kept no history; begin it with 'blockyard run --monitoring'")
    try:
        folder = connect.find(None, call.settings).folder
    except BlockyardError as error:
        raise ConfigError(f"{command}: {error}; or give --database URL") from error
    if folder is None:
        raise ConfigError(f"{command}: {call.settings.profile!r} is not on this machine; give --database URL")
    return database_of(folder)
