"""``blockyard keys``: who may talk to an interchange, by the files of its state folder."""

from pathlib import Path

import click

from blockyard import connect
from blockyard.cli import options, show, views
from blockyard.cli.commands import Listing
from blockyard.cli.exits import NotFound
from blockyard.cli.options import Call
from blockyard.errors import ConfigError
from blockyard.keyring import KINDS, KeyRing
from blockyard.suggestion import nearest
from blockyard.supervise import OWN_KEY
from blockyard.transport import read_public_key


@click.group(
    cls=Listing,
    epilog="Examples: blockyard keys list; blockyard keys issue client-anna; blockyard keys revoke client-anna",
)
def keys() -> None:
    """List, issue and revoke the keys of clients, pools and keepers."""


@keys.command("list", epilog="Example: blockyard keys list -o json")
@options.output
@options.profile
@options.pass_call
def list_keys(call: Call) -> None:
    """List the keys that this interchange lets in, and those that it does not let in any more."""
    ring, _ = _ring(call)
    lines = _keys(ring)
    rows = [
        (line.name, line.kind, "yes" if line.allowed else "no", _good_for(line), line.public, line.file)
        for line in lines
    ]
    columns = ("KEY", "FOR", "ALLOWED", "POOLS", "PUBLIC", "FILE")
    show.answer(call.settings.output, lines, show.Table(columns, rows, "no keys"))


def _good_for(line: views.KeyView) -> str:
    return line.name.partition("-")[2] if line.kind == "pool" else ",".join(line.pools) or "all"


def _keys(ring: KeyRing) -> list[views.KeyView]:
    allowed = set(ring.users())
    held = {path.stem for kind in KINDS for path in ring.folder.glob(f"{kind}-*.key")}
    return [
        views.KeyView(
            name=name,
            kind=name.partition("-")[0],
            allowed=name in allowed,
            public=read_public_key(_file(ring, name)).decode(),
            file=str(ring.path(name)) if name in held else "",
            pools=sorted(ring.pools_of(name) or ()),
        )
        for name in sorted(allowed | held)
    ]


def _file(ring: KeyRing, name: str) -> Path:
    public = ring.folder / "allowed" / f"{name}.pub"
    return public if public.exists() else ring.path(name)


@keys.command(epilog="Examples: blockyard keys issue client-anna; blockyard keys issue client-ben --pools cpu,gpu")
@click.argument("name", metavar="client-NAME|pool-NAME|keeper-NAME|hub-NAME")
@click.option(
    "--pools", metavar="NAME,NAME", help="The only pools that a client's key is good for; also of one that exists."
)
@options.output
@options.profile
@options.pass_call
def issue(call: Call, name: str, pools: str | None) -> None:
    """Make a key and let it in. Who has the file of a client's key can run code on all workers of its pools."""
    ring, target = _ring(call)
    chosen = None if pools is None else _known_pools(ring, pools)
    ring.issue(name, chosen)
    view = next(line for line in _keys(ring) if line.name == name)
    limit = f" to pools {', '.join(view.pools)} only" if view.pools else ""
    lines = [f"key {name} is let in{limit}; its file, for its owner alone, is {view.file}"]
    if view.kind != "pool":
        lines += [
            "on another machine it goes into the user's configuration:",
            f"  [profiles.{target.folder.name if target.folder else 'NAME'}]",
            f'  endpoint = "{target.endpoint}"',
            f'  server_key = "{target.server_key}"',
            '  client_key = "PATH OF THE FILE"',
        ]
    show.answer(call.settings.output, view, *lines)


def _known_pools(ring: KeyRing, text: str) -> list[str]:
    """Pools by their names. Raises NotFound for one whose managers have no key here: it can't be one of these."""
    chosen = [name.strip() for name in text.split(",")]
    known = [user.removeprefix("pool-") for user in ring.users() if user.startswith("pool-")]
    for pool in chosen:
        if pool and pool not in known:
            raise NotFound(f"pool {pool!r}: no key is let in for its managers{nearest(pool, known)}")
    return chosen


@keys.command(epilog="Example: blockyard keys revoke client-anna")
@click.argument("name", metavar="client-NAME|pool-NAME|keeper-NAME|hub-NAME")
@click.option("--force", is_flag=True, help="Also a key that the system itself works with.")
@options.output
@options.profile
@options.pass_call
def revoke(call: Call, name: str, force: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Let a key in no more: its owner is cut off within a second. Its file is removed; 'issue' makes another key."""
    ring, _ = _ring(call)
    known = {line.name: line for line in _keys(ring)}
    if name not in known:
        raise NotFound(f"key {name!r} does not exist{nearest(name, known)}")
    if name == f"client-{OWN_KEY}" and not force:
        raise click.UsageError(
            f"the system keeps its blocks by key {name}: without it no block starts; --force does it"
        )
    if known[name].allowed:
        ring.revoke(name)
    ring.path(name).unlink(missing_ok=True)
    remaining = views.KeyView(name=name, kind=known[name].kind, allowed=False, public=known[name].public, file="")
    show.answer(call.settings.output, remaining, f"key {name} is revoked; who uses it is cut off within a second")


def _ring(call: Call) -> tuple[KeyRing, connect.Target]:
    target = connect.find(None, call.settings)
    if target.folder is None:
        raise ConfigError(
            f"{target.name}: its keys are files in its state folder, which is on another machine; run this there"
        )
    return KeyRing(target.folder / "keys"), target
