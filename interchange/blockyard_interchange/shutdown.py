"""The wish that this process ends, and how a loop that waits hears of it."""

import os
import weakref


class Ending:
    """Whether this process is to end; asked for by a signal handler, so there is no lock."""

    def __init__(self) -> None:
        self.is_asked = False
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Readable when it was asked for: a signal alone does not end the wait of a poll, which goes on after it."""
        weakref.finalize(self, os.close, self.descriptor)

    def ask(self) -> None:
        """End after the current turn, which is not waited for."""
        if not self.is_asked:
            os.eventfd_write(self.descriptor, 1)
            self.is_asked = True

    def hear(self) -> None:
        """Let the descriptor be quiet again."""
        os.eventfd_read(self.descriptor)
