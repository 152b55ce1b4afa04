"""Packets and records for tests, with as much in them as a test does not care about."""

from collections.abc import Callable, Sequence

from blockyard.radios import Arrival
from blockyard.wire.monitoring import VERSION, AnyRecord, Event, Packet, Resources, Sample, Tasks, Tries, Try, TryState

AT = 1_795_000_000_000_000
"""An instant: microseconds UTC."""


def a_packet(*records: AnyRecord, number: int = 1, source: str = "interchange:1") -> Packet[AnyRecord]:
    """A packet of these records."""
    return Packet(VERSION, source, number, AT, list(records))


def an_arrival(
    *records: AnyRecord,
    number: int = 1,
    source: str = "interchange:1",
    radio: str = "interchange",
    on_stored: Callable[[], None] | None = None,
) -> Arrival:
    """The same, as it comes to the bus."""
    return Arrival(a_packet(*records, number=number, source=source), radio, AT + 1000, on_stored)


def some_tasks(first: int = 1 << 32, count: int = 1) -> Tasks:
    """A submission."""
    return Tasks(first, count, first >> 32, "nightly", "default", "module.f", b"\1" * 16, AT)


def some_tries(first: int = 1 << 32, count: int = 1, **fields: object) -> Tries:
    """Tries of `some_tasks` that were done, 10 ms after they were assigned."""
    tries: Sequence[Try] = [a_try(first + place, **fields) for place in range(count)]
    return Tries(first, "default", "m1", "block-1", "node-1", AT + 20_000, list(tries))


def a_try(task: int = 1 << 32, **fields: object) -> Try:
    """One of them."""
    given: dict[str, object] = {
        "task": task, "epoch": 1 << 20, "state": TryState.DONE, "is_last": True, "queued_us": AT,
        "assigned_us": AT + 10_000, "ran_us": 5_000,
    }  # fmt: skip
    return Try(**(given | fields))  # type: ignore[arg-type]


def a_sample(task: int = 1 << 32, at_us: int = AT, epoch: int = 1 << 20) -> Resources:
    """A look at one running try."""
    return Resources(
        "default",
        "m1",
        "block-1",
        "node-1",
        1_000_000,
        [Sample(task, epoch, 0, 77, at_us, 500_000, 100_000, 1 << 20, 1 << 21)],
    )


def an_event(text: str = "hello") -> Event:
    """A line."""
    return Event(AT, "test", "subject", text)
