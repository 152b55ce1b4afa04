"""``blockyard interchange`` and ``blockyard worker``: this process becomes the deployable."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final, NoReturn

import click

from blockyard.errors import NotInstalled

_NEEDED: Final = {"blockyard_monitoring.page": ("sqlalchemy", "aiohttp", "jinja2")}
"""Packages of a program's extra that others go without."""
_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": ["-h"]}


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]}, epilog="Example: blockyard interchange settings.json"
)
@click.argument("settings", type=click.Path(dir_okay=False))
def interchange(settings: str) -> None:
    """Run an interchange with a JSON file of settings, until SIGTERM; see docs/configuration.md."""
    become("blockyard_interchange", "interchange", [settings])


@click.command(
    context_settings=_PASSED_ON,
    epilog="Example: blockyard worker --settings pool.json --block b1; 'blockyard worker --help' lists all flags",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Run the manager of one node of a block, and its workers."""
    become("blockyard_worker", "worker", list(arguments))


def become(module: str, extra: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> NoReturn:
    """Go on as a deployable's program. `environment`: variables besides ours. Raises NotInstalled with the pip line."""
    missing = [name for name in (module.partition(".")[0], *_NEEDED.get(module, ())) if not find_spec(name)]
    if missing:
        raise NotInstalled(f"{', '.join(missing)} not installed here: pip install 'blockyard[{extra}]'")
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], {**os.environ, **(environment or {})})
