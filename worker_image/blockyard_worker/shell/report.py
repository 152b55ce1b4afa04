"""What a manager tells of its tries: what each used, where what it printed is, and samples of those that run. Not there
without a radio.

One thread looks at all running tries together. What workers measured is told when the outcomes go that it belongs to,
as one message, and in the same frame when the radio is the interchange's.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from blockyard.errors import ConfigError
from blockyard.ids import TaskId, task_name
from blockyard.radios import InterchangeRadio, RadioConfig, from_json
from blockyard.radios.config import RadioSender
from blockyard.radios.interchange import Outbox
from blockyard.this_try import Way
from blockyard.wire.monitoring import PRINTED, File, Resources, Sample, WorkerTasks, micros
from blockyard_worker.core.state import Policy
from blockyard_worker.shell.child import Child
from blockyard_worker.shell.sampling import sample

_log = logging.getLogger(__name__)

_MOST_PASSING_BYTES: Final = 2 * 1024 * 1024
"""Of samples and lines of tasks, while the interchange is away."""
_PRINTED_BYTES: Final = 100
"""Of a record that says where the output is, about."""
_PRINTED_SECONDS: Final = 1.0
"""So long it waits for an outcome that takes it along."""
_ENOUGH_BYTES: Final = 32 * 1024
"""Of what tries used: with so many a message goes without waiting for more, for radios carry no large ones."""


class Report:
    """The senders of one manager. `radio_file`: a complete config, as JSON."""

    def __init__(self, radio_file: str, sample_seconds: float, policy: Policy) -> None:
        """Raises ConfigError when the file is absent or is no radio, and what the radio raises."""
        try:
            radio = from_json(Path(radio_file).read_bytes()).kept_in(Path(radio_file))
        except OSError as error:
            raise ConfigError(f"radio_file {radio_file}: {error.strerror}") from error
        self._at = (policy.pool, policy.manager, policy.block, policy.node)
        self._seconds = sample_seconds
        self._uses, self._told = _sender(radio, f"manager:{policy.manager}")
        self._samples, self._passing = _sender(radio, f"sampler:{policy.manager}", _MOST_PASSING_BYTES)
        self._radio = radio
        self._waiting: list[WorkerTasks | File] = []
        self._waiting_bytes = 0
        self.due = math.inf
        """When `uses_told` shall be asked though there is no outcome, by the monotonic clock."""
        self._bulk: tuple[RadioSender, Outbox | None] | None = None
        """Made when there is something for it."""
        self._ending = threading.Event()
        self._sampler: threading.Thread | None = None

    def on_uses(self, child: Child, uses: bytes) -> None:
        """Keep what tries used, a list of `Use` as the worker encoded it, until `uses_told`."""
        encoded: Any = msgspec.Raw(uses)  # to be read by the hub, which trusts neither this process nor the worker
        self._waiting.append(WorkerTasks(*self._at, child.number, child.pid or 0, child.accelerators, encoded))
        self._waiting_bytes += len(uses)
        if self._waiting_bytes > _ENOUGH_BYTES:
            self._send_uses()

    def on_printed(self, name: tuple[int, int]) -> None:
        """Keep that this try (task, epoch) printed something, until `uses_told`."""
        task, epoch = name
        command = f"blockyard output {task_name(TaskId(task))}"
        self._waiting.append(File(task, epoch, PRINTED, command, at_us=micros(time.time())))
        self._waiting_bytes += _PRINTED_BYTES
        self.due = min(self.due, time.monotonic() + _PRINTED_SECONDS)
        if self._waiting_bytes > _ENOUGH_BYTES:
            self._send_uses()

    def uses_told(self) -> list[bytes]:
        """Tell what waits; returns packets to go with the outcomes of these tries."""
        self._send_uses()
        return self._told.take() if self._told is not None else []

    def on_note(self, notes: list[bytes], way: Way) -> list[bytes]:
        """Tell what a task does not keep until its end, as the worker encoded it; returns packets as `uses_told` does.

        Each way has a sender of its own, since what one keeps while the hub is away is bounded: what a task says as
        often as it likes goes with the samples.
        """
        encoded: list[Any] = [msgspec.Raw(note) for note in notes]
        if way is Way.PASSING:
            self._samples.send(encoded, at=time.time())
            return []
        sender, told = self._uses, self._told
        if way is Way.BULK:
            self._bulk = self._bulk or _sender(self._radio, f"artefacts:{self._at[1]}")
            sender, told = self._bulk
        sender.send(encoded, at=time.time())
        return told.take() if told is not None else []

    def passing(self) -> list[bytes]:
        """Packets that shall go to the interchange, and that nobody keeps."""
        return self._passing.take() if self._passing is not None else []

    def watch(self, children: Mapping[int, Child]) -> None:
        """Sample from now on what these do; the mapping is looked at anew each time."""
        if self._seconds:
            self._sampler = threading.Thread(target=self._watch, args=(children,), name="sampler", daemon=True)
            self._sampler.start()

    def close(self) -> None:
        """Send what is left."""
        self._ending.set()
        if self._sampler is not None:
            self._sampler.join()
        self._send_uses()
        self._uses.close()
        self._samples.close()
        if self._bulk is not None:
            self._bulk[0].close()

    def _send_uses(self) -> None:
        if self._waiting:
            self._uses.send(self._waiting, at=time.time())
            self._waiting, self._waiting_bytes, self.due = [], 0, math.inf

    def _watch(self, children: Mapping[int, Child]) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        except OSError as error:
            _log.debug("the sampler keeps its priority: %s", error)
        while not self._ending.wait(self._seconds):
            samples = self._look(children)
            if samples:
                record = Resources(*self._at, micros(self._seconds), samples)
                self._samples.send([record], at=time.time())

    def _look(self, children: Mapping[int, Child]) -> list[Sample]:
        found: list[Sample] = []
        for child in list(children.values()):
            try:
                now = child.now()
            except ValueError:  # its page was closed meanwhile: it has ended
                continue
            if now is not None and now.running and child.pid is not None:
                one = sample(now.task, now.epoch, child.number, child.pid, micros(time.time()))
                if one is not None:
                    found.append(one)
        return found


def _sender(radio: RadioConfig, source: str, most_bytes: int = 1 << 62) -> tuple[RadioSender, Outbox | None]:
    """A sender, and its outbox, for so many bytes, when the radio is the interchange's."""
    if not isinstance(radio, InterchangeRadio):
        return radio.create_sender(source), None
    outbox = Outbox(most_bytes)
    return RadioSender(outbox, source), outbox
