"""How a process shows that it shares a blob folder with the interchange: it knows what a file in there says.

The file is made by whoever comes first, the interchange or what supervises it, and stays: so a manager that is started
together with the interchange can always say what it read, and a restarted interchange still believes it.
"""

import os
import secrets
import stat
from pathlib import Path

from blockyard.errors import ConfigError

_NAME = ".nonce"


def nonce_file(folder: Path) -> Path:
    """Where it is."""
    return folder / _NAME


def ensure(folder: Path) -> bytes:
    """Make folder and file unless they are there; returns the 32 bytes.

    Raises ConfigError when others may write or look into the folder, so that it could have been made by one of them.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"blob folder {folder}: it is not a folder of mode 0700 that belongs to user {os.geteuid()} (found mode "
            f"{stat.filemode(found.st_mode)}, user {found.st_uid}); remove it, or name another one"
        )
    file = nonce_file(folder)
    draft = folder / f".unfinished-{os.getpid()}-nonce"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as written:
        written.write(secrets.token_bytes(32))
    try:
        os.link(draft, file)
    except FileExistsError:
        pass  # somebody was first, and all must say the same
    finally:
        draft.unlink()
    return file.read_bytes()


def read(file: Path | None) -> bytes:
    """What to say: the file's content, or nothing when it can't be read here."""
    try:
        return file.read_bytes() if file is not None else b""
    except OSError:
        return b""
