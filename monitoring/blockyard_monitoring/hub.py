"""The hub as a whole: a bus, a thread for each sink, a receiver for each radio. As a process, or within another one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from blockyard import pace
from blockyard.radios import RadioConfig, RadioReceiver
from blockyard_monitoring.bus import Bus
from blockyard_monitoring.figures import HubFigures, ShowsHub, SinkFigures
from blockyard_monitoring.link import InterchangeLink, LinkSettings
from blockyard_monitoring.sinks import port
from blockyard_monitoring.sinks.runner import Runner
from blockyard_monitoring.stream_link import StreamLink

_END_SECONDS: Final = 20.0
_STORED: Final = pace.Limits(least=0.05, most=1.0, crowd=48)
"""How batches follow one another, counted in rows: a commit for a few rows costs as much as one for many."""
_SHOWN: Final = pace.Limits(least=0.005, most=0.25, crowd=16)
"""The same where they are only shown."""


class Hub:
    """Start it, add radios, stop it. Sinks are named by their kind, with a number where there are several of one."""

    def __init__(self, run_dir: Path) -> None:
        """`run_dir`: where radios keep what they need."""
        self.bus = Bus()
        self.runners: list[Runner] = []
        self._run_dir = run_dir
        self._receivers: list[RadioReceiver] = []
        self._link: InterchangeLink | None = None
        self._stream: StreamLink | None = None

    def add_sink(self, kind: str, settings: Mapping[str, Any]) -> Runner:
        """Make a sink and put it to work. Raises PluginError, or ConfigError naming sink and setting."""
        sink = port.make(kind, dict(settings))
        others = sum(runner.label.partition("-")[0] == kind for runner in self.runners)
        label = f"{kind}-{others + 1}" if others else kind
        if isinstance(sink, ShowsHub):
            sink.attach(self.figures)
        limits = _STORED if sink.must_not_miss else _SHOWN
        feed = self.bus.feed(label, must_not_miss=sink.must_not_miss, limits=limits)
        runner = Runner(label, sink, feed)
        self.runners.append(runner)
        runner.start()
        return runner

    def figures(self) -> HubFigures:
        """How it fares; from any thread."""
        sinks = [
            SinkFigures(
                runner.label, runner.is_available, runner.feed.waiting_parts, runner.written, runner.failures,
                runner.quarantined, dict(runner.feed.dropped),
                dict(runner.sink.expired) if isinstance(runner.sink, port.Tends) else {},
            )
            for runner in list(self.runners)
        ]  # fmt: skip
        return HubFigures(self.bus.counts(), sinks)

    def listen(self, radio: RadioConfig) -> RadioConfig:
        """Have a radio's receiver listen; returns the config, complete now. Raises what `create_receiver` raises."""
        self._receivers.append(radio.create_receiver(run_dir=self._run_dir, bus=self.bus))
        return radio

    def follow(self, settings: LinkSettings) -> None:
        """Take in what an interchange has to tell, and show its clients what happens if a sink for that is there."""
        self._link = InterchangeLink(settings, self.bus)
        self._link.start()
        rings = [runner.sink.ring for runner in self.runners if isinstance(runner.sink, port.HasRing)]
        if rings:
            self._stream = StreamLink(settings, rings[0])
            self._stream.start()

    def fault(self) -> str:
        """Why it makes no sense to let it go on: a part of it is dead; '' while none is. From any thread."""
        if self._link is not None and not self._link.is_alive():
            return "the link to the interchange has ended"
        if self._stream is not None and not self._stream.is_alive():
            return "the link to those who follow has ended"
        dead = [one.label for one in list(self.runners) if not one.is_alive() and one.refusal is None]
        return f"the thread of sink {dead[0]} has ended" if dead else ""

    def stop(self) -> None:
        """Shut the radios, write what waits, confirm it, end; idempotent."""
        for receiver in self._receivers:
            receiver.shutdown()
        self._receivers.clear()
        runners, self.runners = self.runners, []
        for runner in runners:
            runner.end(_END_SECONDS)
        if self._stream is not None:
            self._stream.end()
            self._stream = None
        if self._link is not None:
            self._link.end()
            self._link = None
