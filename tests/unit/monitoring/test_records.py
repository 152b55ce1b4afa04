"""Packets on the wire: read back as written; what a stranger may not say, or says too much of, is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockyard.errors import BadFrame
from blockyard.wire import codec
from blockyard.wire.monitoring import MAX_NAME, MAX_TEXT, Event, Packet, Run, clipped, micros
from tests.unit.monitoring.messages import AT, a_packet, a_sample, an_event, some_tasks, some_tries


def test_a_packet_is_read_back_as_it_was_written() -> None:
    packet = a_packet(Run(1, "r"), some_tasks(), some_tries(count=3, kind="module.Oops"), a_sample(), an_event())
    assert codec.packet_of_interchange.decode(codec.encode(packet)) == packet


@pytest.mark.parametrize("record", [Run(1, "r"), some_tasks(), some_tries()], ids=lambda one: type(one).__name__)
def test_a_worker_cannot_speak_of_runs_and_of_how_tasks_ended(record: Run) -> None:
    with pytest.raises(BadFrame, match="of a worker's side"):
        codec.packet_of_worker.decode(codec.encode(a_packet(record)))


@pytest.mark.parametrize(
    "record",
    [
        Event(AT, "k" * (MAX_NAME + 1), "s"),
        Event(AT, "k", "s", "t" * (MAX_TEXT + 1)),
        Event(-1, "k", "s"),
        Event(1 << 60, "k", "s"),
    ],
)
def test_what_is_longer_or_larger_than_its_limit_is_refused(record: Event) -> None:
    with pytest.raises(BadFrame):
        codec.packet_of_worker.decode(codec.encode(a_packet(record)))


def test_a_packet_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(BadFrame, match="version 2"):
        codec.packet_of_worker.decode(codec.encode(msgspec.structs.replace(a_packet(an_event()), version=2)))


def test_a_packet_that_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadFrame, match="at most"):
        codec.packet_of_worker.decode(bytes(1 << 21))


@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(BadFrame):
        codec.packet_of_worker.decode(noise)


@given(st.data())
def test_a_packet_with_bytes_changed_is_refused_or_is_a_packet(data: st.DataObject) -> None:
    frame = bytearray(codec.encode(a_packet(a_sample(), an_event())))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = codec.packet_of_worker.decode(bytes(frame))
    except BadFrame:
        return
    assert isinstance(found, Packet)


@given(st.text(max_size=600), st.integers(4, 300))
def test_a_clipped_text_fits_and_short_ones_stay(text: str, most: int) -> None:
    assert len(clipped(text, most)) <= most
    assert clipped(text, max(most, len(text))) == text


def test_seconds_become_microseconds_and_nonsense_nothing() -> None:
    assert micros(1.5) == 1_500_000
    assert [micros(one) for one in (-1.0, float("nan"), float("inf"), 0.0)] == [0, 0, 0, 0]
