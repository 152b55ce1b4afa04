"""A child process that is started again and again: how it is started, what it said last, how it ends.

When it is started again, and when that is given up, is for those who keep one to decide.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

from blockyard.blocks.logs import read_tail

_WORDS_BYTES: Final = 2000


class KeptProcess(threading.Thread):
    """The kernel ties a child to the thread that started it, so this one does, in `run`, which others define."""

    def __init__(self, name: str, log: Path) -> None:
        super().__init__(name=name, daemon=True)
        self.log = log
        """What it says, in all its lives."""
        self._log_from = 0
        """Where the words of the one that runs begin."""
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self, seconds: float) -> None:
        """End it, in good order if it can within so many seconds."""
        self._ending.set()
        patience = time.monotonic() + seconds
        while self.is_alive():
            # Looked at again each time: the thread may just have been about to start another one.
            process = self._process
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM if time.monotonic() < patience else signal.SIGKILL)
            self.join(0.05)

    def _start(self, command: list[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._log_from = os.fstat(log).st_size
        try:
            self._process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": module_path()},
                start_new_session=True,
            )
        finally:
            os.close(log)
        return self._process

    def _last_words(self) -> str:
        """The end of what the last one said."""
        said = read_tail(self.log, _WORDS_BYTES, since=self._log_from).strip()
        return said or f"none; is there room where its log is, {self.log}?"


def module_path() -> str:
    """This process's own module search path: what it can import, its children can."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path if not entry.endswith(".zip"))
