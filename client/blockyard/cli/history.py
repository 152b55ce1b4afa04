"""Where a command finds the history."""

import click

from blockyard import connect
from blockyard.cli.options import Call
from blockyard.errors import BlockyardError, ConfigError
from blockyard.monitoring import database_of

database_option = click.option(
    "--database", default="", metavar="URL", help="The history; without it, that of the profile's system."
)


def database(call: Call, command: str, given: str) -> str:
    """The URL that was given, or that of the profile's system. Raises ConfigError, beginning with the command."""
    if given:
        return given
    try:
        folder = connect.find(None, call.settings).folder
    except BlockyardError as error:
        raise ConfigError(f"{command}: {error}; or give --database URL") from error
    if folder is None:
        raise ConfigError(f"{command}: {call.settings.profile!r} is not on this machine; give --database URL")
    return database_of(folder)
