"""The interchange of a local system as a child process: started, started again when it dies, given up when in vain."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from blockyard.errors import BrokenBlockyard
from blockyard.kept_process import KeptProcess

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
    """Keeps one running."""

    def __init__(self, command: list[str], folder: Path) -> None:
        super().__init__("blockyard-interchange", folder / "interchange.log")
        self._command = command
        self._socket = folder / "clients.sock"
        self.on_give_up: Callable[[Exception], None] = ignore
        """Told why, when it is not started again."""

    def run(self) -> None:
        """Start the interchange again and again."""
        vain = 0
        failures: list[float] = []
        while not self._ending.is_set():
            before = self._bound()
            code = self._start(self._command).wait()
            if self._ending.is_set():
                return
            # One that came up and was killed is simply started again, however often that happens. One that failed by
            # itself is too, but not if the same thing makes it fail again and again.
            vain = vain + 1 if self._bound() == before else 0
            failures = [at for at in failures if at > time.monotonic() - _FAILURES_SECONDS]
            failures += [time.monotonic()] if code == _FAILED else []
            _log.warning("interchange ended with %s; its log is %s", code, self.log)
            hopeless = code > 0 and code not in (_JOURNAL_IN_USE, _FAILED)
            if hopeless or vain >= _MAX_VAIN_STARTS or len(failures) >= _MAX_FAILURES:
                sentence = f"the interchange ended with exit code {code}; its last words:\n{self._last_words()}"
                self.on_give_up(BrokenBlockyard(sentence))
                return
            self._ending.wait(_RESTART_SECONDS)

    def _bound(self) -> tuple[int, int]:
        """Which socket the clients' is: another one after each start that got as far as listening."""
        try:
            found = self._socket.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_ctime_ns


def ignore(_: Exception) -> None:
    """Do nothing with why."""
