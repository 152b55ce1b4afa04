"""What every sink must do: tests that its author runs on his own, and that we run on all that are registered.

    import pytest
    from blockyard_monitoring.suites import SinkSuite
    from my_package import PigeonSink

    class TestPigeonSink(SinkSuite):
        @pytest.fixture
        def make(self, tmp_path):
            return lambda: PigeonSink(path=str(tmp_path / "loft"))

`make` returns a fresh sink on the same destination each time. This module does not import pytest.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from blockyard.radios import Arrival
from blockyard.wire.monitoring import (
    MAX_TEXT,
    VERSION,
    AnyRecord,
    Block,
    Event,
    File,
    Needs,
    Node,
    Packet,
    Resources,
    Run,
    Sample,
    Tasks,
    Tries,
    Try,
    TryState,
    Use,
    WorkerTasks,
)
from blockyard_monitoring.bus import Bus
from blockyard_monitoring.sinks.port import Sink
from blockyard_monitoring.sinks.runner import Runner

Make: TypeAlias = Callable[[], Sink]
AT: Final = 1_795_000_000_000_000
WITHIN: Final = 30.0
_FIRST: Final = 7 << 32
_LAST, _NOT_LAST = True, False
_AT_NODE: Final = ("default", "m1", "block-1", "node-1")
_HOSTILE: Final = "tab\t newline\n nul\0 quote' \" back\\ ✓ \u202e" + "x" * 100


def one_of_each(text: str = "text") -> list[AnyRecord]:
    """Every kind of record, about a run of three tasks."""
    tries = [
        Try(_FIRST, 1, TryState.RUNNING, _NOT_LAST, AT, AT + 10),
        Try(_FIRST, 1, TryState.DONE, _LAST, AT, AT + 10, 5_000),
        Try(_FIRST + 1, 1, TryState.RAISED, _NOT_LAST, AT, AT + 10, 5_000, "module.Oops", text, text),
        Try(_FIRST + 1, 2, TryState.DONE, _LAST, AT, AT + 20, 5_000),
        Try(_FIRST + 2, 0, TryState.DEPENDENCY, _LAST, AT, 0, 0, "module.Oops", text),
    ]
    return [
        Run(7, "nightly", "client:me", text, "3.11", AT),
        Tasks(_FIRST, 3, 7, "nightly", "default", "module.f", b"\1" * 16, AT, text, ["a", text]),
        Needs(_FIRST + 2, [[_FIRST]]),
        Tries(_FIRST, *_AT_NODE, AT + 20_000, tries),
        WorkerTasks(*_AT_NODE, 0, 77, "0", [Use(_FIRST, 1, AT + 11, AT + 5_011, 4_000, 500, 1 << 20)]),
        Resources(*_AT_NODE, 1_000_000, [Sample(_FIRST, 1, 0, 77, AT + 12, 100, 100, 1 << 20, 1 << 20)]),
        Node("m1", "default", "block-1", "node-1", AT, "joined", workers=2, cores=2.0),
        Node("m1", "default", "block-1", "node-1", AT + 30, "gone", text, workers=2, cores=float("nan")),
        Block("default", "block-1", AT, "FAILED", "OOMKilled", text, exit_code=137),
        File(_FIRST, 1, "stdout", text),
        Event(AT, "test", "subject", text),
    ]


def arriving(records: list[AnyRecord], number: int = 1, source: str = "suite:1") -> Arrival:
    """A packet of these."""
    return Arrival(Packet(VERSION, source, number, AT, records), "suite", AT)


class SinkSuite:
    """Fixture `make`: a function that makes a sink."""

    def test_it_takes_every_kind_of_record(self, make: Make) -> None:
        sink = make()
        sink.start()
        sink.write([arriving(one_of_each())])
        sink.close()

    def test_it_may_be_given_the_same_again_also_after_a_restart(self, make: Make) -> None:
        for _ in range(2):
            sink = make()
            sink.start()
            sink.write([arriving(one_of_each())])
            sink.write([arriving(one_of_each()), arriving(one_of_each())])
            sink.close()

    def test_it_takes_whatever_order_and_no_records_at_all(self, make: Make) -> None:
        sink = make()
        sink.start()
        sink.write([arriving([])])
        sink.write([arriving([record], number) for number, record in enumerate(reversed(one_of_each()), 1)])
        sink.close()

    def test_it_takes_any_text(self, make: Make) -> None:
        sink = make()
        sink.start()
        sink.write([arriving(one_of_each(_HOSTILE))])
        sink.write([arriving([Event(AT, "test", "subject", "x" * MAX_TEXT)], 2)])
        sink.close()

    def test_it_takes_a_large_batch(self, make: Make) -> None:
        tries = [Try(_FIRST + place, 1, TryState.DONE, _LAST, AT, AT + 10, 5) for place in range(4000)]
        sink = make()
        sink.start()
        sink.write([arriving([Tries(_FIRST, *_AT_NODE, AT, tries)], number) for number in range(1, 6)])
        sink.close()

    def test_it_puts_aside_what_it_is_told_to(self, make: Make) -> None:
        sink = make()
        sink.start()
        sink.quarantine(arriving(one_of_each(_HOSTILE)), "ValueError: the suite says so")
        sink.close()

    def test_it_works_in_a_hub_and_everything_is_confirmed(self, make: Make) -> None:
        sink = make()
        assert isinstance(sink.must_not_miss, bool)
        bus, stored = Bus(), list[int]()
        runner = Runner("suite", sink, bus.feed("suite", must_not_miss=sink.must_not_miss))
        runner.start()
        for number in range(1, 21):
            packet = Packet(VERSION, "suite:1", number, AT, one_of_each())
            assert bus.put(Arrival(packet, "suite", AT, lambda number=number: stored.append(number)))  # type: ignore[misc]
        runner.end(WITHIN)
        assert not runner.is_alive(), "it did not end"
        assert (runner.quarantined, runner.failures) == (0, 0)
        assert stored == list(range(1, 21))
