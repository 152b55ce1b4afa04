"""``blockyard watch``: what happens, as it happens."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click

from blockyard.cli import options
from blockyard.cli.asking import asking
from blockyard.cli.options import Call
from blockyard.events import Where, follow, follow_http
from blockyard.state_folder import INTERCHANGE_SETTINGS, STREAM_SOCKET


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

    FOLDER is the state folder of a system on this machine; without it, the interchange is that of the profile. Its hub
    must have a sink 'stream', as those of local systems with monitoring have. What this client's key may see is shown.
    """
    wanted: dict[str, Any] = {"kinds": kinds, "pools": pools, "runs": runs, "patience": call.settings.timeout}
    if folder is not None and (folder / STREAM_SOCKET).exists() and not (folder / INTERCHANGE_SETTINGS).exists():
        # Threads of one process have a hub and no interchange.
        asyncio.run(_show(follow_http(Where(folder / STREAM_SOCKET), **wanted)))
        return
    with asking(call, folder) as asks:
        asyncio.run(_show(follow(asks.engine.begin, **wanted)))


async def _show(events: AsyncIterator[dict[str, Any]]) -> None:
    async for event in events:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
