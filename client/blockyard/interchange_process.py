"""The interchange of a local system as a child process: started, started again when it dies, given up when in vain.

Its interpreter is started ahead of its settings, so that it imports what it needs while its client does the same.
"""

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from blockyard.errors import BrokenBlockyard
from blockyard.kept_process import KeptProcess
from blockyard.leftovers import open_folder
from blockyard.state_folder import INTERCHANGE_SETTINGS

_log = logging.getLogger(__name__)

_RESTART_SECONDS: Final = 0.2
_MAX_VAIN_STARTS: Final = 5
"""An interchange that ends so often in a row before it listens is not started again."""
_FAILED: Final = 1
"""Exit code of an interchange that met an error that nobody thought of."""
_MAX_FAILURES: Final = 5
_FAILURES_SECONDS: Final = 60.0
"""After so many of these within so many seconds it is not started again."""
_JOURNAL_IN_USE: Final = 4
"""Exit code of an interchange whose journal has a writer: here one of a killed client, which is about to end."""


class InterchangeProcess(KeptProcess):
    """Keeps one running, in a state folder that is there."""

    def __init__(self, folder: Path, *, is_temporary: bool = False) -> None:
        """`is_temporary`: the folder is nobody's when the system has ended."""
        super().__init__("blockyard-interchange", folder / "interchange.log")
        self.folder = folder
        self.is_temporary = is_temporary
        self._socket = folder / "clients.sock"
        self._held, let_go = os.pipe2(os.O_CLOEXEC)
        self._let_go = os.fdopen(let_go, "wb", buffering=0)
        self._begun = threading.Event()
        self.on_give_up: Callable[[Exception], None] = ignore
        """Told why, when it is not started again."""

    def begin(self) -> None:
        """Its settings are written: let it read them."""
        self._let_go.write(b"\n")  # not its end alone, which a process forked in these moments would hold back
        self._begun.set()

    def stop(self, seconds: float) -> None:
        """End it, in good order if it can within so many seconds."""
        self._begun.set()
        super().stop(seconds)
        self._let_go.close()

    def run(self) -> None:
        """Start the interchange again and again."""
        try:
            self._run()
        finally:
            os.close(self._held)

    def _run(self) -> None:
        settings = str(self.folder / INTERCHANGE_SETTINGS)
        command = [sys.executable, "-m", "blockyard_interchange", settings, "--await-stdin"]
        vain = 0
        failures: list[float] = []
        while not self._ending.is_set():
            before = self._bound()
            code = self._start(command, subprocess.DEVNULL if self._begun.is_set() else self._held).wait()
            self._begun.wait()  # before that nobody listens who could be told
            if self._ending.is_set():
                return
            # One that came up and was killed is simply started again, however often that happens. One that failed by
            # itself is too, but not if the same thing makes it fail again and again.
            vain = vain + 1 if self._bound() == before else 0
            failures = [at for at in failures if at > time.monotonic() - _FAILURES_SECONDS]
            failures += [time.monotonic()] if code == _FAILED else []
            hopeless = code > 0 and code not in (_JOURNAL_IN_USE, _FAILED)
            if hopeless or vain >= _MAX_VAIN_STARTS or len(failures) >= _MAX_FAILURES:
                sentence = f"the interchange ended with exit code {code}; its last words:\n{self._last_words()}"
                self.on_give_up(BrokenBlockyard(sentence))
                return
            _log.warning("interchange ended (%s) and is started again; its log is %s", _how(code), self.log)
            self._ending.wait(_RESTART_SECONDS)

    def _bound(self) -> tuple[int, int]:
        """Which socket the clients' is: another one after each start that got as far as listening."""
        try:
            found = self._socket.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_ctime_ns


@contextmanager
def started_ahead(run: str, folder: Path | None) -> Iterator[InterchangeProcess]:
    """An interchange in the state folder of a run, or in a new one. When the block raises, neither is left behind.

    Raises ConfigError when the folder is no good place for sockets.
    """
    process = InterchangeProcess(open_folder(run, folder), is_temporary=not run and folder is None)
    process.start()
    try:
        yield process
    except BaseException:
        process.stop(0.0)
        if process.is_temporary:
            shutil.rmtree(process.folder, ignore_errors=True)
        raise


def ignore(_: Exception) -> None:
    """Do nothing with why."""


def _how(code: int) -> str:
    from blockyard.blocks.exits import signal_name  # with msgspec, which a first result does not wait for

    return f"exit code {code}" if code >= 0 else f"killed by {signal_name(-code)}"
