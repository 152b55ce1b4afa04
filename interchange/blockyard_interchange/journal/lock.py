"""The lock file that makes one process the writer of a journal on this machine, and names it to all others.

The lock is `flock(2)` on the open file, so the kernel gives it back however the holder dies; the text inside is for
people only. Never remove the file of a running interchange.
"""

from __future__ import annotations

import fcntl
import os

from blockyard_interchange.journal.errors import JournalInUse

_TEXT_BYTES = 200


class WriterLock:
    """Held from `acquire` to `release`, or to the death of the process (of its forked children too: do not fork)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = -1

    def acquire(self) -> None:
        """Take the lock or raise `JournalInUse` with what the holder wrote about itself. Does not wait."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(file, _TEXT_BYTES, 0).decode("ascii", "replace").strip() or "unknown process"
                os.close(file)
                raise JournalInUse(
                    f"open journal: {self.path!r} is held by {holder}. Stop that interchange, or name another journal"
                ) from None
            except BaseException:
                os.close(file)
                raise
            if self._is_the_file_of_the_path(file):
                self._file = file
                return
            # Somebody removed the file between open and flock: a lock on it would exclude nobody.
            os.close(file)

    def name_holder(self, epoch: int) -> None:
        """Write who holds the lock, and since which epoch, into the file."""
        text = f"pid {os.getpid()} epoch {epoch}\n".encode("ascii")
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text, 0)

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _is_the_file_of_the_path(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self.path))
        except FileNotFoundError:
            return False
