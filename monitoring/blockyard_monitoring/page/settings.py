"""What the page is started with, read once from its arguments and two files."""

import argparse
import ipaddress
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from blockyard import host_port
from blockyard.errors import ConfigError
from blockyard.events import Where
from blockyard.monitoring import database_of
from blockyard.state_folder import STREAM_SOCKET
from blockyard_monitoring.settings import DATABASE_VARIABLE

LEAST_TOKEN: Final = 16
"""Characters of a token."""


class PageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the history is, where to listen, and who may look."""

    database: str
    host: str = "127.0.0.1"
    port: int = 0
    """0: one that is free."""
    token: str = ""
    stream: Where | None = None
    """The hub's stream; None: the page looks again every few seconds."""
    folder: Path | None = None
    """State folder of the system on this machine, whose interchange is asked for what a task printed."""

    @property
    def is_loopback(self) -> bool:
        """Nobody on other machines can connect."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine's own alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> PageSettings:
    """Read the arguments. Raises ConfigError naming the one at fault."""
    parser = argparse.ArgumentParser(prog="python -m blockyard_monitoring.page", description="Serve the page.")
    parser.add_argument("--folder", type=Path, help="state folder of a system on this machine: its history, its stream")
    parser.add_argument("--database", default="", help=f"URL of the history; secret ones in {DATABASE_VARIABLE}")
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT; port 0 is one that is free")
    parser.add_argument("--token-file", type=Path, help="file with the token that lets in; one is made up without it")
    parser.add_argument("--stream", default="", help="the hub's stream: a Unix socket's path, or HOST:PORT")
    parser.add_argument("--stream-token-file", type=Path, help="file with the token of a stream on a port")
    asked = parser.parse_args(arguments)
    host, port = _address("--listen", asked.listen)
    token = _token("--token-file", asked.token_file) if asked.token_file else ""
    if not token and not is_loopback(host):
        raise ConfigError(f"--listen {asked.listen}: others can connect there, so it takes a --token-file")
    folder: Path | None = asked.folder
    database = environment.get(DATABASE_VARIABLE) or asked.database or (database_of(folder) if folder else "")
    if not database:
        raise ConfigError(f"no history is named: give --folder, --database, or {DATABASE_VARIABLE}")
    return PageSettings(
        database=database,
        host=host,
        port=port,
        token=token or secrets.token_urlsafe(24),
        stream=_stream(asked.stream, asked.stream_token_file, folder),
        folder=folder,
    )


def _stream(stream: str, token_file: Path | None, folder: Path | None) -> Where | None:
    if not stream:
        return Where(folder.absolute() / STREAM_SOCKET) if folder is not None else None
    if "/" in stream:
        return Where(Path(stream))
    host, port = _address("--stream", stream)
    if token_file is None:
        raise ConfigError(f"--stream {stream}: a stream on a port takes a --stream-token-file")
    return Where(None, host, port, _token("--stream-token-file", token_file))


def _address(name: str, value: str) -> tuple[str, int]:
    found = host_port.split(value)
    if found is None:
        raise ConfigError(f"{name} {value!r}: give HOST:PORT, for example 127.0.0.1:8080")
    return found


def _token(name: str, path: Path) -> str:
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} {path}: {error}") from error
    if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(f"{name} {path}: a token has at least {LEAST_TOKEN} characters, and no spaces")
    return token
