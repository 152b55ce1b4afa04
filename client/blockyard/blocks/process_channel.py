"""What all channels have in common whose programs are processes of this machine, or hang on one: calls from any thread
are carried out on the thread of a `ProcessWatch`, and the last event and the log of each program are remembered.

How a program is started, signalled and seen to end is left to `local_channel` and `ssh_channel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from blockyard.blocks.channels import OnEvent, Program
from blockyard.blocks.exits import ChannelEvent
from blockyard.blocks.faults import ChannelError
from blockyard.blocks.logs import read_tail
from blockyard.blocks.process_watch import Appointment, ProcessWatch


class ProcessChannel(ABC):
    """See `channels.Channel`. Methods with an underscore run on the watch's thread."""

    def __init__(self, name: str, thread: str) -> None:
        self._name = name
        self._watch = ProcessWatch(thread)
        self._last: dict[str, ChannelEvent] = {}
        self._logs: dict[str, Path] = {}
        self._on_event: OnEvent | None = None

    @property
    def name(self) -> str:
        return self._name

    def open(self, on_event: OnEvent) -> None:
        if self._on_event is not None:
            raise ChannelError("the channel is open already; use one channel for each provider")
        self._on_event = on_event
        self._watch.start()

    def start(self, key: str, program: Program) -> None:
        self._watch.call(lambda: self._begin(key, program))

    def poll(self, key: str) -> ChannelEvent | None:
        return self._last.get(key)

    def signal(self, key: str, signum: int) -> None:
        self._watch.call(lambda: self._signal(key, signum))

    def tail(self, key: str, limit_bytes: int) -> str:
        path = self._logs.get(key)
        return read_tail(path, limit_bytes) if path is not None else ""

    def forget(self, key: str) -> None:
        self._watch.call(lambda: self._forget(key))

    def later(self, delay: float, callback: Callable[[], None]) -> Appointment:
        return self._watch.later(delay, callback)

    def _begin(self, key: str, program: Program) -> None:
        if self._runs(key):
            raise ChannelError(f"program {key!r} still runs; use another key, or wait for its end")
        self._logs[key] = program.log
        self._last.pop(key, None)
        self._start(key, program)

    @abstractmethod
    def _start(self, key: str, program: Program) -> None:
        """Start it; what comes of that is told by `_tell`."""

    @abstractmethod
    def _signal(self, key: str, signum: int) -> None:
        """Signal it, if it has not ended."""

    @abstractmethod
    def _runs(self, key: str) -> bool:
        """Whether it was started and has not ended."""

    def _forget(self, key: str) -> None:
        if not self._runs(key):
            self._last.pop(key, None)
            self._logs.pop(key, None)

    def _tell(self, key: str, event: ChannelEvent) -> None:
        self._last[key] = event
        if self._on_event is not None:
            self._on_event(key, event)
