"""The lock file that makes one process the writer of a journal on this machine, and names it to all others.

The lock is `flock(2)` on the open file, so the kernel gives it back however the holder dies; the text inside is for
people only. The database itself is locked as well (`lock_too`), so removing this file lets nobody else in.
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

    def lock_too(self, file: int, path: str) -> None:
        """Lock another open file in the same way; for as long as it is open."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalInUse(
                f"open journal: {path!r} has a writer, though {self.path!r} names none (was it removed?). Find it with "
                f"`lslocks` and stop it, or name another journal"
            ) from None

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
