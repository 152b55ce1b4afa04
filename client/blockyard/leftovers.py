"""What an unnamed local system leaves behind when its process is killed: a state folder, its large payloads in shared
memory, and processes that escaped. Nobody can come back to it, so the next unnamed one removes it.

And how the folder of a system, named or not, comes to be.

A folder is left over when nobody holds the lock in it: the kernel gives that back however its holder dies.
"""

import fcntl
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from blockyard.state_folder import (
    LOCK,
    MAX_SOCKET_PATH,
    check_sockets,
    ensure_folder,
    folder_name,
    longest_path,
    state_home,
)

_log = logging.getLogger(__name__)

PREFIX: Final = "blockyard-"
_YOUNG_SECONDS: Final = 60.0
"""A folder this young may be about to be locked by the process that has just made it."""
_MOST: Final = 16
"""Removed by one start, so that none takes long."""


def make_folder(prefix: str = PREFIX) -> Path:
    """Make a state folder that is nobody's for long: where temporary files are, or in /tmp when that is too deep."""
    named = Path(tempfile.gettempdir())
    is_short = longest_path(named / f"{prefix}12345678") <= MAX_SOCKET_PATH
    return Path(tempfile.mkdtemp(prefix=prefix, dir=named if is_short else "/tmp"))


def open_folder(run: str, folder: Path | None) -> Path:
    """The state folder of a system: as asked for, a named run's, or one that is made for it; there when this returns.

    Raises ConfigError when sockets in it would have longer paths than Linux allows, `run` is no name of a folder, or it
    cannot be made.
    """
    if folder is None and not run:
        folder = make_folder()
    elif folder is None:
        folder = state_home() / "runs" / folder_name("run", run, "a run")
    check_sockets(folder)
    ensure_folder(folder)
    return folder


def remove(root: Path, clear: Callable[[Path], None], *, now: float | None = None) -> list[Path]:
    """Remove the leftovers in `root` and return their folders; `clear` is to remove what belongs to one elsewhere."""
    oldest = (time.time() if now is None else now) - _YOUNG_SECONDS
    removed: list[Path] = []
    for folder in root.glob(f"{PREFIX}*"):
        if len(removed) == _MOST:
            break
        with _claimed(folder, oldest) as is_ours:
            if is_ours:
                clear(folder)
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    if removed:
        _log.info("removed what killed processes left: %s", ", ".join(map(str, removed)))
    return removed


@contextmanager
def _claimed(folder: Path, oldest: float) -> Iterator[bool]:
    """Whether it is a state folder of this user that nobody uses; nobody can begin to within the block."""
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mtime > oldest:
            raise FileNotFoundError
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)
