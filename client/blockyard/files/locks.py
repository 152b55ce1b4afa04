"""Locks of files that processes of a node share; the kernel opens them when their holder dies (flock(2))."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Lock:
    """One that is held until `close`. Shared with others who share it, or for one alone."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    def remove(self) -> None:
        """Take the lock's file away, while it is held alone: who waits for it finds that it is another one."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go; idempotent."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def take(path: Path, *, alone: bool = True) -> Lock:
    """Take a lock, and wait for it if need be."""
    while True:
        lock = _take(path, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if lock is not None:
            return lock


def take_free(path: Path) -> Lock | None:
    """Take a lock alone; None when somebody holds it."""
    try:
        return _take(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


def _take(path: Path, kind: int) -> Lock | None:
    """None: while it was waited for, its last holder took its file away."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind)
        if _is_still(path, descriptor):
            return Lock(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    locked = os.fstat(descriptor)
    return (now.st_dev, now.st_ino) == (locked.st_dev, locked.st_ino)
