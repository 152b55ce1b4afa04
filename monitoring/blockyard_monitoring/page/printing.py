"""What a task printed, as its manager keeps it: asked of the interchange of a system on this machine."""

import threading
from pathlib import Path
from typing import Final

from blockyard import config, connect
from blockyard.errors import BlockyardError
from blockyard.remote import RemoteEngine, RemoteSettings
from blockyard.wire import control

_PATIENCE_SECONDS: Final = 2.0
MOST_LETTERS: Final = 20_000
"""Of each try."""


class Printing:
    """Connects when it is first asked; any thread may ask."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._engine: RemoteEngine | None = None
        self._lock = threading.Lock()

    def of(self, task: int) -> tuple[list[tuple[int, str]], str]:
        """Try and the end of what it printed, oldest first; and, if there is nothing, why."""
        if self._folder is None:
            return [], "what tasks print is kept by their managers; the page knows only the database"
        try:
            with self._lock:
                engine = self._engine = self._engine or self._connect(self._folder)
            found = engine.ask(control.Output(task), control.OutputIs, _PATIENCE_SECONDS).tries
        except (BlockyardError, TimeoutError) as error:
            self.close()
            return [], f"the interchange does not answer: {error}"
        tails = [(one.epoch, one.text[-MOST_LETTERS:]) for one in found]
        return tails, "" if tails else "it printed nothing, or its manager is gone, or keeps it no more"

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown(wait=False, cancel_futures=False)

    @staticmethod
    def _connect(folder: Path) -> RemoteEngine:
        target = connect.find(folder, config.Settings())
        remote = RemoteSettings(target.link(), name="blockyard page", patience=_PATIENCE_SECONDS)
        return connect.open_engine(target, remote)
