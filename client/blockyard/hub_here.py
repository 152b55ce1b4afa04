"""The hub as a library in this process: its bus and its sinks, for a client on threads.

No process is started and no port opened; a Unix socket is, unless ``Monitoring(stream=False)``. The radio is `thread`.
"""

import fcntl
import importlib
import logging
import os
import shutil
from collections.abc import Callable
from typing import Any

from blockyard import lifetime
from blockyard.errors import ConfigError
from blockyard.leftovers import PREFIX, make_folder
from blockyard.monitoring import Monitoring, write_hub_settings
from blockyard.radios import InterchangeRadio, RadioConfig, RadioSender, ThreadRadio
from blockyard.state_folder import LOCK

_log = logging.getLogger(__name__)


class HubHere:
    """Started when made; `stop` writes what waits."""

    failure = ""

    def __init__(self, monitoring: Monitoring) -> None:
        """Raises ConfigError for a radio that leads out of this process, and for a sink that can't be had."""
        radio: RadioConfig = monitoring.radio
        if isinstance(radio, InterchangeRadio):  # the default, of those who have an interchange
            radio = ThreadRadio()
        if not isinstance(radio, ThreadRadio):
            raise ConfigError(
                f"Client.threads: radio={radio.kind!r} is for workers that are processes; threads tell by ThreadRadio()"
            )
        self.monitoring = monitoring
        self.folder = make_folder(f"{PREFIX}threads-")
        self.on_stop: Callable[[], bool] = lambda: True
        """What has to be told first; False when not all of it was."""
        # Not imported by the library: it may not be installed, and costs nothing to those who do not ask for it.
        self._hub: Any = importlib.import_module("blockyard_monitoring.hub").Hub(self.folder)
        lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)  # until this process is gone; then the folder is a leftover
        sinks = monitoring.all_sinks(self.folder, is_kept=False)
        write_hub_settings(self.folder, sinks)
        try:
            for sink in sinks:
                runner = self._hub.add_sink(sink.kind, sink.settings)
                runner.started.wait(10.0)  # a database that is away is waited for meanwhile
                if runner.refusal is not None:
                    raise runner.refusal
            self._radio = self._hub.listen(radio)
        except BaseException:
            self.stop()
            raise
        lifetime.register(self)

    def create_sender(self, source: str) -> RadioSender:
        """For whoever has something to tell."""
        sender: RadioSender = self._radio.create_sender(source)
        return sender

    def stop(self) -> None:
        """Tell and write what waits, and end; idempotent."""
        hub, self._hub = self._hub, None
        if hub is None:
            return
        if not self.on_stop():
            _log.error("monitoring: the database was away for too long; not all of the history is written")
        hub.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self) -> None:
        """At the interpreter's exit."""
        self.stop()

    def disown(self) -> None:
        """In a forked child: all of it is the parent's."""
        self._hub = None
