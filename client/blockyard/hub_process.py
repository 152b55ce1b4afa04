"""The hub of a local system as a child process: started, started again when it dies, ended last.

A hub that is away costs nothing but patience: the interchange keeps what it has to tell.
"""

import logging
import os
import sys
import time
from pathlib import Path
from typing import Final

from blockyard.errors import BrokenBlockyard, ConfigError
from blockyard.kept_process import KeptProcess
from blockyard.monitoring import Monitoring, write_hub_settings
from blockyard.private_files import write_private
from blockyard.radios import InterchangeRadio, Stage, to_json

_log = logging.getLogger(__name__)

_RESTART_SECONDS: Final = 0.2
_MOST_RESTART_SECONDS: Final = 5.0
_READY_SECONDS: Final = 20.0
_HOPELESS: Final = (2, 5)
"""Exit codes of a hub whose settings, or whose addresses, are at fault."""


class HubProcess(KeptProcess):
    """One hub."""

    def __init__(self, monitoring: Monitoring, folder: Path, *, keeps_folder: bool) -> None:
        """`keeps_folder`: whether the state folder outlives the system. Raises ConfigError when it cannot be made."""
        super().__init__("blockyard-hub", folder / "hub.log")
        self._monitoring = monitoring
        self._folder = folder
        sinks = monitoring.all_sinks(folder, is_kept=keeps_folder)
        self._settings = write_hub_settings(folder, sinks, radio=monitoring.radio, parent=os.getpid())
        self._radio_file = folder / "radio.json"
        self._radio_file.unlink(missing_ok=True)
        self.failure = ""
        """Why it is not started again."""

    def radio_file(self) -> Path:
        """A file with the radio as its receiver completed it; waits for the hub, unless the radio needs no receiver.

        Raises ConfigError or BrokenBlockyard with the hub's last words.
        """
        radio = self._monitoring.radio
        if isinstance(radio, InterchangeRadio):
            path = self._folder / "interchange-radio.json"
            write_private(path, to_json(InterchangeRadio(stage=Stage.READY)))
            return path
        deadline = time.monotonic() + _READY_SECONDS
        while not self._radio_file.exists():
            if self.failure:
                raise ConfigError(f"monitoring: {self.failure}")
            if time.monotonic() > deadline:
                raise BrokenBlockyard(f"the hub's radio does not listen after {_READY_SECONDS:g} s; see {self.log}")
            time.sleep(0.01)
        return self._radio_file

    def run(self) -> None:
        """Start it again and again."""
        command = [sys.executable, "-m", "blockyard_monitoring", str(self._settings)]
        wait = _RESTART_SECONDS
        while not self._ending.is_set():
            began = time.monotonic()
            code = self._start(command).wait()
            if self._ending.is_set():
                return
            if code in _HOPELESS:
                self.failure = f"the hub ended with exit code {code}; its last words:\n{self._last_words()}"
                _log.error("%s", self.failure)
                return
            wait = _RESTART_SECONDS if time.monotonic() - began > 10.0 else min(2 * wait, _MOST_RESTART_SECONDS)
            _log.warning("the hub ended with %s and is started again; its log is %s", code, self.log)
            self._ending.wait(wait)
