"""The file that makes one supervisor the owner of a state folder, and names it to everybody else.

The lock is `flock(2)` on the open file, so the kernel gives it back however the holder dies; the text inside is for
those who are refused, and for ``blockyard local down``.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from blockyard.errors import BlockyardError

NAME: Final = "supervisor.pid"
_PATIENCE: Final = 0.5
"""Seconds that a look at the lock, or the writing of the text, may take another process."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who supervises. `started_at`: UTC epoch seconds. `ready`: whether its interchange has answered yet."""

    pid: int
    started_at: float
    ready: bool = False


class SystemInUse(BlockyardError):
    """Another supervisor owns the state folder. Use it as it is, or end it with ``blockyard local down``."""

    def __init__(self, folder: str, pid: int) -> None:
        super().__init__(folder, pid)
        self.folder = folder
        self.pid = pid

    def __str__(self) -> str:
        return (
            f"state folder {self.folder} is supervised by process {self.pid} already; "
            f"end that with 'blockyard local down --name {Path(self.folder).name}'"
        )


class PidFile:
    """Held from `acquire` to `release`, or to the death of the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1
        self._holder = Holder(pid=os.getpid(), started_at=time.time())

    def acquire(self) -> None:
        """Take the lock. Raises SystemInUse with the holder's pid."""
        file = os.open(self._folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Perhaps somebody only looks (`holder_of`), or the holder has not written its number yet.
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                holder = _read(file)
                os.close(file)
                raise SystemInUse(str(self._folder), holder.pid if holder is not None else 0) from None
        self._file = file
        self._write()

    def say_ready(self) -> None:
        """Note that the system answers."""
        self._holder = msgspec.structs.replace(self._holder, ready=True)
        self._write()

    def release(self) -> None:
        """Give the lock back and forget who held it. Idempotent."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1

    def _write(self) -> None:
        text = msgspec.json.encode(self._holder)
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


def is_system(folder: Path) -> bool:
    """Whether a supervisor ever owned this folder."""
    return (folder / NAME).exists()


def ended_in_order(folder: Path) -> bool:
    """Whether the last supervisor of an unowned folder released it itself, rather than dying."""
    try:
        return (folder / NAME).stat().st_size == 0
    except FileNotFoundError:
        return True


def holder_of(folder: Path) -> Holder | None:
    """The living supervisor of a state folder; None when there is none."""
    try:
        file = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read(file)
                if holder is not None or time.monotonic() >= deadline:
                    return holder or Holder(pid=0, started_at=0.0)
                time.sleep(0.01)
            else:
                return None
    finally:
        os.close(file)


def _read(file: int) -> Holder | None:
    try:
        holder = msgspec.json.decode(os.pread(file, 4096, 0), type=Holder)
    except msgspec.MsgspecError:
        return None
    # The number of one that died may still stand there while the next holder is about to write its own.
    return holder if Path(f"/proc/{holder.pid}").exists() else None
