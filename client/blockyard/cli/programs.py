"""``blockyard interchange`` and ``blockyard worker``: this process becomes the deployable."""

import importlib.util
import os
import sys

import click

from blockyard.cli.exits import NotInstalled

_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": ["-h"]}


@click.command(context_settings=_PASSED_ON, epilog="Example: blockyard interchange settings.json")
@click.argument("settings", type=click.Path(dir_okay=False))
def interchange(settings: str) -> None:
    """Run an interchange with a JSON file of settings, until SIGTERM; see docs/configuration.md."""
    _become("blockyard_interchange", "interchange", [settings])


@click.command(
    context_settings=_PASSED_ON,
    epilog="Example: blockyard worker --settings pool.json --block b1; 'blockyard worker --help' lists all flags",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Run the manager of one node of a block, and its workers."""
    _become("blockyard_worker", "worker", list(arguments))


def _become(module: str, extra: str, arguments: list[str]) -> None:
    if importlib.util.find_spec(module) is None:
        raise NotInstalled(f"{module} is not installed here: pip install 'blockyard[{extra}]'")
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
