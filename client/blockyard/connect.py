"""From what a user calls an interchange to a link: a profile's name, the path of a state folder, or a URL.

A URL carries the interchange's public key as its fragment: ``tcp://host:5555#KEY``, ``ipc:///path#KEY``. Whether
anybody answers there is found out by `RemoteEngine.connect`.
"""

import errno
import os
import socket
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from blockyard import config, nearness
from blockyard.errors import BadKey, BrokenBlockyard, ConfigError
from blockyard.keyring import DEFAULT_CLIENT, KeyRing
from blockyard.pidfile import holder_of, is_system
from blockyard.remote import RemoteEngine, RemoteSettings
from blockyard.session import LinkSettings
from blockyard.state_folder import INTERCHANGE_SETTINGS
from blockyard.suggestion import nearest
from blockyard.transport import KeyPair, read_public_key

KEY_LENGTH: Final = 40
"""Characters of a public key in Z85."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where an interchange is and what proves who we are."""

    name: str
    """What the user called it."""
    endpoint: str
    server_key: str
    client_key: Path
    nonce: Path | None = None
    """File whose readers share the folder of large payloads."""
    folder: Path | None = None
    """Its state folder, when that is on this machine."""

    @property
    def url(self) -> str:
        """Endpoint and server key as one URL; safe in a shell."""
        return f"{self.endpoint}#{quote(self.server_key, safe='')}"

    def link(self) -> LinkSettings:
        """Read the client's key. Raises BadKey naming the file."""
        return LinkSettings(self.endpoint, self.server_key.encode(), KeyPair.load(self.client_key), self.nonce)


class _Served(msgspec.Struct, frozen=True):
    """What a client needs of an interchange's own settings file."""

    clients: str = ""
    journal: str = ""
    core: dict[str, object] = {}


def find(
    where: str | Path | None,
    settings: config.Settings,
    *,
    server_key: str = "",
    client_key: str | Path | None = None,
) -> Target:
    """Find out what `where` means; None: the profile of the settings.

    `server_key` and `client_key` complete a URL, or replace what a profile says.
    Raises ConfigError: unknown profile (naming the nearest), no state folder, URL without key.
    """
    where = settings.profile if where is None or where == "" else where
    if isinstance(where, str) and "://" in where:
        target = _of_url(where, server_key, client_key)
    elif isinstance(where, os.PathLike) or "/" in where:
        target = of_folder(Path(where).expanduser())
    else:
        target = _of_profile(where, settings)
    changes: dict[str, object] = {}
    if server_key:
        changes["server_key"] = server_key
    if client_key is not None:
        changes["client_key"] = Path(client_key).expanduser()
    return msgspec.structs.replace(target, **changes) if changes else target


def _of_profile(name: str, settings: config.Settings) -> Target:
    if not name:
        place = settings.places.get("profile", "the settings")
        raise ConfigError(f"profile (from {place}) is ''; give a name, a state folder or a URL, or leave it out")
    profile = settings.profiles.get(name)
    if profile is None:
        if name in config.systems():
            return of_folder(config.system_folder(name), name)
        known = {*settings.profiles, *config.systems()}
        start = f"Start one here with 'blockyard local up --name {name}', or add a table [profiles.{name}] to"
        hint = nearest(name, known, empty="; there is none yet", then=f"{start} {config.user_file()}")
        raise ConfigError(f"profile {name!r} is unknown{hint}")
    if profile.folder:
        return of_folder(Path(profile.folder), name)
    _check_key(profile.server_key, f"profile {name!r}: server_key")
    return Target(
        name=name,
        endpoint=profile.endpoint,
        server_key=profile.server_key,
        client_key=Path(profile.client_key),
    )


def of_folder(folder: Path, name: str = "") -> Target:
    """The interchange whose state folder this is. Raises ConfigError when the folder is none."""
    folder = folder.absolute()
    served = _served(folder)
    ring = KeyRing(folder / "keys")
    blobs = served.core.get("blobs")
    return Target(
        name=name or str(folder),
        endpoint=served.clients or f"ipc://{folder}/clients.sock",
        server_key=read_public_key(ring.path("clients")).decode(),
        client_key=ring.path(f"client-{DEFAULT_CLIENT}"),
        nonce=nearness.nonce_file(Path(str(blobs))) if blobs else None,
        folder=folder,
    )


def journal_url(folder: Path) -> str:
    """The journal of the interchange whose state folder this is. Raises ConfigError when the folder is none."""
    return _served(folder).journal or f"sqlite:///{quote(str(folder.absolute()).lstrip('/'))}/journal.db"


def _served(folder: Path) -> _Served:
    path = folder / INTERCHANGE_SETTINGS
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Served)
    except OSError as error:
        raise ConfigError(
            f"state folder {folder}: {path.name}: {error.strerror}; no interchange was ever started there"
        ) from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"state folder {folder}: {path.name}: {error}") from error


def _of_url(url: str, server_key: str, client_key: str | Path | None) -> Target:
    # Z85 has '#' among its characters: the fragment begins at the first one behind which a key's worth is left.
    endpoint, mark, fragment = url.partition("#")
    if mark and len(fragment) != KEY_LENGTH:
        fragment = unquote(fragment)
    key = server_key or fragment
    if not key:
        raise ConfigError(
            f"URL {url!r} lacks the interchange's public key; append it as '#KEY', or give server_key. "
            "'blockyard local status' shows the whole URL of a system on this machine"
        )
    _check_key(key, f"URL {endpoint!r}: server key")
    scheme, _, rest = endpoint.partition("://")
    if scheme not in ("tcp", "ipc") or not rest:
        raise ConfigError(f"URL {endpoint!r}: expected tcp://HOST:PORT#KEY or ipc:///PATH#KEY")
    path = Path(client_key).expanduser() if client_key is not None else default_client_key()
    return Target(name=endpoint, endpoint=endpoint, server_key=key, client_key=path)


def default_client_key() -> Path:
    """The key file that URLs are used with when none is named: ``client.key`` beside the user's configuration."""
    return config.user_file().parent / "client.key"


def _check_key(key: str, what: str) -> None:
    if len(key) != KEY_LENGTH:
        raise ConfigError(f"{what}: {key!r} has {len(key)} characters; a public key has {KEY_LENGTH}")


def open_engine(target: Target, settings: RemoteSettings) -> RemoteEngine:
    """Connect, and return an engine that was welcomed.

    Raises BrokenBlockyard when nobody answers there, or refuses us; BadKey when our key cannot be read.
    """
    if target.folder is not None and is_deserted(target):
        raise BrokenBlockyard(
            f"{target.name}: no interchange is running in {target.folder}; start it again with "
            f"'blockyard local up --name {target.folder.name}'"
        )
    engine = RemoteEngine(settings)
    engine.connect()
    return engine


def is_deserted(target: Target) -> bool:
    """Whether a system that ``blockyard local up`` made has neither a supervisor nor an interchange.

    While its supervisor lives a missing interchange comes back within a second, so it is worth waiting for.
    """
    folder = target.folder
    if folder is None or not is_system(folder) or holder_of(folder) is not None:
        return False
    return not _answers(target.endpoint)


def answers(folder: Path) -> bool:
    """Whether an interchange listens in this state folder. Raises ConfigError when the folder is none."""
    return _answers(of_folder(folder).endpoint)


def _answers(endpoint: str) -> bool:
    scheme, _, rest = endpoint.partition("://")
    if scheme != "ipc":
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(rest) not in (errno.ECONNREFUSED, errno.ENOENT)


__all__ = ["BadKey", "Target", "answers", "default_client_key", "find", "is_deserted", "of_folder", "open_engine"]
