"""A sink's thread: again when the sink is away, on without what it can't swallow, honest about what is stored."""

import threading
from collections.abc import Sequence

from blockyard.errors import ConfigError
from blockyard.radios import Arrival
from blockyard_monitoring.bus import Bus
from blockyard_monitoring.sinks.port import SinkUnavailable
from blockyard_monitoring.sinks.runner import Runner
from tests.unit.monitoring.messages import an_arrival, some_tries

WITHIN = 10.0


class Recorder:
    """A sink that can be told to fail."""

    must_not_miss = True

    def __init__(self) -> None:
        self.written: list[int] = []
        self.aside: list[tuple[int, str]] = []
        self.away = 0
        """So many writes fail from now on."""
        self.away_at_start = 0
        self.refusal = ""
        self.poison: set[int] = set()
        self.is_closed = False

    def start(self) -> None:
        if self.refusal:
            raise ConfigError(self.refusal)
        if self.away_at_start:
            self.away_at_start -= 1
            raise SinkUnavailable("not yet")

    def write(self, batch: Sequence[Arrival]) -> None:
        numbers = [arrival.packet.number for arrival in batch]
        if self.away:
            self.away -= 1
            raise SinkUnavailable("away")
        if self.poison.intersection(numbers):
            raise ValueError("cannot swallow this")
        self.written += numbers

    def quarantine(self, arrival: Arrival, reason: str) -> None:
        self.aside.append((arrival.packet.number, reason))

    def close(self) -> None:
        self.is_closed = True


def at_work(sink: Recorder, numbers: range) -> tuple[Runner, list[int]]:
    """Run a sink over messages of these numbers to its end; returns also what was confirmed."""
    bus, confirmed = Bus(), []
    runner = Runner("test", sink, bus.feed("test", must_not_miss=True))
    for number in numbers:
        bus.put(an_arrival(some_tries(), number=number, on_stored=lambda number=number: confirmed.append(number)))  # type: ignore[misc]
    runner.start()
    runner.feed.close()
    runner.join(WITHIN)
    assert not runner.is_alive()
    return runner, confirmed


def test_everything_is_written_confirmed_and_the_sink_closed() -> None:
    sink = Recorder()
    runner, confirmed = at_work(sink, range(1, 6))
    assert sink.written == confirmed == [1, 2, 3, 4, 5]
    assert runner.written == 5
    assert sink.is_closed


def test_a_sink_that_is_away_is_given_the_same_again() -> None:
    sink = Recorder()
    sink.away, sink.away_at_start = 2, 1
    runner, confirmed = at_work(sink, range(1, 4))
    assert sink.written == confirmed == [1, 2, 3]
    assert runner.failures == 3


def test_what_it_cannot_swallow_is_put_aside_alone_and_the_rest_written_in_order() -> None:
    sink = Recorder()
    sink.poison = {3, 6}
    runner, confirmed = at_work(sink, range(1, 9))
    assert sink.written == [1, 2, 4, 5, 7, 8]
    assert sink.aside == [(3, "ValueError: cannot swallow this"), (6, "ValueError: cannot swallow this")]
    assert confirmed == list(range(1, 9)), "nobody can do more about those put aside"
    assert runner.quarantined == 2


def test_what_is_not_stored_at_the_end_is_not_confirmed() -> None:
    sink = Recorder()
    sink.away = 1 << 30
    bus, confirmed = Bus(), list[int]()
    runner = Runner("test", sink, bus.feed("test", must_not_miss=True))
    bus.put(an_arrival(some_tries(), on_stored=lambda: confirmed.append(1)))
    runner.start()
    runner.started.wait(WITHIN)
    runner.end(WITHIN)
    assert not runner.is_alive()
    assert confirmed == []


def test_a_sink_with_bad_settings_is_left_alone_and_says_why() -> None:
    sink = Recorder()
    sink.refusal = "url is none"
    runner, confirmed = at_work(sink, range(1, 2))
    assert confirmed == []
    assert str(runner.refusal) == "url is none"


class Housekeeper(Recorder):
    """A sink with something to do between messages."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.expired: dict[str, int] = {}
        self.tended = threading.Event()
        self.calls: list[str] = []
        self.fails = fails

    def write(self, batch: Sequence[Arrival]) -> None:
        super().write(batch)
        self.calls.append("write")

    def tend(self) -> float:
        self.calls.append("tend")
        if self.calls.count("tend") > 2:
            self.tended.set()
        if self.fails:
            raise SinkUnavailable("away") if len(self.calls) % 2 else ValueError("no")
        return 0.0


def test_a_sink_that_tends_is_called_when_nothing_comes_and_written_to_first() -> None:
    sink, bus = Housekeeper(), Bus()
    runner = Runner("test", sink, bus.feed("test", must_not_miss=True))
    bus.put(an_arrival(some_tries()))
    runner.start()
    assert sink.tended.wait(WITHIN)
    runner.end(WITHIN)
    assert sink.calls[:3] == ["write", "tend", "tend"]
    assert (sink.written, sink.is_closed, runner.failures) == ([1], True, 0)


def test_what_fails_between_messages_keeps_no_message_away() -> None:
    sink = Housekeeper(fails=True)
    runner, confirmed = at_work(sink, range(1, 4))
    assert sink.written == confirmed == [1, 2, 3]
    assert "tend" in sink.calls
    assert runner.failures == 1
    assert sink.is_closed
