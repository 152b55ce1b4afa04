"""Keeps one sink at work: batches as they come, again when it is unavailable, and without what it can't swallow.

What arrives while a batch is written, or soon after, is the next one. A sink's failure stays here.
"""

import logging
import threading
import time
from typing import Final

from blockyard.errors import BlockyardError, ConfigError
from blockyard_monitoring.bus import Entry, Feed
from blockyard_monitoring.sinks.port import Sink, SinkUnavailable, Tends

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.1
_MOST_RETRY_SECONDS: Final = 5.0
_TEND_AGAIN_SECONDS: Final = 60.0
"""After an error of the sink's housekeeping."""


class Runner(threading.Thread):
    """One sink's thread."""

    def __init__(self, name: str, sink: Sink, feed: Feed) -> None:
        super().__init__(name=f"sink-{name}", daemon=True)
        self.sink = sink
        self.feed = feed
        self.label = name
        self.written = 0
        """Packets."""
        self.quarantined = 0
        self.failures = 0
        """Times that the sink was unavailable."""
        self.is_available = False
        self.refusal: BlockyardError | None = None
        """Why it will never start."""
        self._tend_at = 0.0
        self._ending = threading.Event()
        self.started = threading.Event()

    def run(self) -> None:
        """Until `end`: then what is left, once."""
        if not self._start():
            self.started.set()
            return
        self.started.set()
        while True:
            entries = self.feed.take(self._patience())
            if not entries and self.feed.is_closed:
                entries = self.feed.take(0.0)  # which came in between
                if not entries:
                    break
            if entries:
                if not self._write(entries):
                    break  # who sent them still has them
                self.feed.done(entries)
            self._tend()
        self.sink.close()

    def end(self, timeout: float) -> None:
        """Have it write what waits, and end; an unavailable sink is left."""
        self._ending.set()
        self.feed.close()
        self.join(timeout)
        if self.is_alive():
            _log.error("sink %s: did not end within %g s; what waits is not written", self.label, timeout)

    def _start(self) -> bool:
        wait = _RETRY_SECONDS
        while True:
            try:
                self.sink.start()
            except SinkUnavailable as error:
                self._on_unavailable(error, wait)
                if self._ending.wait(wait):
                    return False
                wait = min(2 * wait, _MOST_RETRY_SECONDS)
            except ConfigError as error:
                self.refusal = error
                _log.error("sink %s cannot be used: %s", self.label, error)
                return False
            else:
                self.is_available = True
                return True

    def _patience(self) -> float | None:
        """How long to wait for messages before the sink has something else to do."""
        return max(0.0, self._tend_at - time.monotonic()) if isinstance(self.sink, Tends) else None

    def _tend(self) -> None:
        if not isinstance(self.sink, Tends) or time.monotonic() < self._tend_at:
            return
        wait = _MOST_RETRY_SECONDS
        try:
            wait = self.sink.tend()
        except SinkUnavailable as error:
            self._on_unavailable(error, wait)
        except Exception as error:  # noqa: BLE001 - a sink's housekeeping must not end what it is there for
            self.failures += 1
            _log.error("sink %s: what is to be done between messages failed: %s", self.label, error)
            wait = _TEND_AGAIN_SECONDS
        else:
            self.is_available = True
        self._tend_at = time.monotonic() + wait

    def _write(self, entries: list[Entry]) -> bool:
        """False when this ended before they could be written."""
        wait = _RETRY_SECONDS
        while True:
            try:
                self.sink.write([entry.arrival for entry in entries])
            except SinkUnavailable as error:
                self._on_unavailable(error, wait)
                if self._ending.wait(wait):
                    return False
                wait = min(2 * wait, _MOST_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - a stranger's code and data: find which packet, go on without it
                return self._isolate(entries, error)
            else:
                if not self.is_available:
                    _log.info("sink %s is back", self.label)
                self.is_available = True
                self.written += len(entries)
                return True

    def _isolate(self, entries: list[Entry], error: Exception) -> bool:
        if len(entries) > 1:
            half = len(entries) // 2
            return self._write(entries[:half]) and self._write(entries[half:])
        arrival = entries[0].arrival
        self.quarantined += 1
        reason = f"{type(error).__name__}: {error}"
        _log.error(
            "sink %s: message %d of %s is put aside: %s",
            self.label,
            arrival.packet.number,
            arrival.packet.source,
            reason,
        )
        try:
            self.sink.quarantine(arrival, reason)
        except Exception as again:  # noqa: BLE001 - as above; it was logged and counted
            _log.error("sink %s: it could not even be put aside: %s", self.label, again)
        return True

    def _on_unavailable(self, error: SinkUnavailable, wait: float) -> None:
        if self.is_available or not self.failures:
            _log.warning("sink %s is unavailable, trying again every %g s and less often: %s", self.label, wait, error)
        self.is_available = False
        self.failures += 1
