"""The state folder of a system on this machine: what others look for in it, who has it, and what it is a name for.

Small: whoever ends a client imports it.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from blockyard.errors import BrokenBlockyard, ConfigError

INTERCHANGE_SETTINGS: Final = "interchange.json"
"""What the interchange was started with."""
HUB_SETTINGS: Final = "hub.json"
"""What the hub was started with."""
STREAM_SOCKET: Final = "stream.sock"
"""Where it shows what happens."""
LOCK: Final = "client.lock"
"""Locked by the process whose system is in it."""
_SHARED_MEMORY: Final = Path("/dev/shm")
MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path, unix(7)."""


def state_home(environment: Mapping[str, str] | None = None) -> Path:
    """Where the state of this user's systems and runs is kept."""
    environment = os.environ if environment is None else environment
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "blockyard"


def ensure_folder(folder: Path) -> None:
    """Make a state folder unless it is there. Raises ConfigError when it cannot be made."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"state folder {folder} cannot be made: {error.strerror}; name another one, or in XDG_STATE_HOME a folder "
            "for all of them"
        ) from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise ConfigError when something cannot be written to a state folder."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"state folder {folder} cannot be written: {error.strerror}; make room, or name another one: by TMPDIR"
            " where it is temporary, by XDG_STATE_HOME where it is kept"
        ) from error


def folder_name(field: str, name: str, of: str) -> str:
    """The name, which is to be that of a folder. Raises ConfigError, naming the field, when it could lead elsewhere."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ConfigError(f"{field}: {name!r} is no name for {of}; use letters, digits, '-', '_' and '.'")
    return name


def is_monitored(folder: Path) -> bool:
    """Whether a hub was ever started in this state folder."""
    return (folder / HUB_SETTINGS).exists()


def longest_path(folder: Path) -> int:
    """Bytes of the longest path of a socket in it."""
    return len(os.fsencode(folder.absolute() / "managers.sock"))


def check_sockets(folder: Path) -> None:
    """Raise ConfigError when sockets in a state folder would have longer paths than Linux allows."""
    longest, most = longest_path(folder), MAX_SOCKET_PATH
    if longest > most:
        raise ConfigError(
            f"state folder {folder}: its sockets' paths have up to {longest} bytes, {most} are possible; "
            "use a shorter name, or a shorter folder in XDG_STATE_HOME"
        )


def owner_of(folder: Path) -> str:
    """The mark (`BLOCKYARD_OWNER`) of every process of the blocks of the system in this state folder."""
    return f"local-{hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()}"


def blobs_of(folder: Path) -> Path:
    """The folder of large bodies of the system in this state folder: in shared memory, or else in it."""
    if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK):
        return _SHARED_MEMORY / f"blockyard-{os.getuid()}-{owner_of(folder)}"
    return folder / "blobs"


def lock_folder(folder: Path) -> int:
    """Make this process the only one whose system is in the folder, until the descriptor is closed or it dies.

    Raises BrokenBlockyard naming the process that has it.
    """
    path = folder / LOCK
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 100, 0).decode("ascii", "replace").strip() or "another process"
        os.close(lock)
        raise BrokenBlockyard(
            f"{folder} is in use by {holder}, which supervises the run there; end that first, or connect to it"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()}".encode(), 0)
    return lock
