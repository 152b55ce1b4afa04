"""``blockyard watch``: what happens, as it happens."""

import asyncio
import json
import sys
from pathlib import Path

import click

from blockyard import connect
from blockyard.cli import options
from blockyard.cli.options import Call
from blockyard.errors import ConfigError
from blockyard.events import Where, follow
from blockyard.state_folder import STREAM_SOCKET


@click.command(epilog="Example: blockyard watch --kind Tries --kind Block")
@options.connected
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--kind", "kinds", multiple=True, help="Only records of this type; may be given several times.")
@click.option("--pool", "pools", multiple=True, help="Only of this pool; may be given several times.")
@click.option("--run", "runs", multiple=True, help="Only of this run; may be given several times.")
@options.pass_call
def watch(
    call: Call, folder: Path | None, kinds: tuple[str, ...], pools: tuple[str, ...], runs: tuple[str, ...]
) -> None:
    """Show what happens, a line of JSON each, until Ctrl-C.

    FOLDER is the state folder of a local system that was made with monitoring; without it, that of the profile.
    """
    where = Where((folder or _folder(call)) / STREAM_SOCKET)

    async def show() -> None:
        async for event in follow(where, kinds=kinds, pools=pools, runs=runs, patience=call.settings.timeout):
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()

    asyncio.run(show())


def _folder(call: Call) -> Path:
    target = connect.find(None, call.settings)
    if not target.endpoint.startswith("ipc://"):
        raise ConfigError(f"watch: {target.name} is not on this machine; name the state folder of a system that is")
    return Path(target.endpoint.removeprefix("ipc://")).parent
