"""What a client's session says unasked. What it says again after a reconnect: `tests/simulation`."""

from itertools import pairwise

from blockyard.session.core import Answers, Large, SessionCore
from blockyard.wire import client as wire
from blockyard.wire import codec
from blockyard.wire.patience import LARGE_BYTES
from blockyard.wire.records import Outcome, Status


def test_credit_is_given_by_the_clock_and_not_with_each_result() -> None:
    core = SessionCore(wire.Hello(1, 1, bytes(16), "", "3.11"))
    told: list[float] = []
    for millisecond in range(100):
        now = millisecond / 1000
        if millisecond % 3 == 0:  # somebody who sends one task after the other and takes 3 ms for each
            outcome = Outcome(millisecond, 1, Status.DONE)
            core.receive([codec.encode(wire.Outcomes([outcome]))], Answers(), now)
        told += [now for _ in core.credit(now)]
        core.collect([millisecond])  # there is always something owed
    assert 8 <= len(told) <= 11, told
    assert all(later - earlier > 0.009 for earlier, later in pairwise(told))


def test_credit_does_not_wait_when_much_has_come() -> None:
    core = SessionCore(wire.Hello(1, 1, bytes(16), "", "3.11"))
    core.credit(0.0)
    frame = codec.encode(wire.Outcomes([Outcome(1, 1, Status.DONE)]))
    core.receive([frame] * 7, Answers(), 0.001)
    assert not core.credit(0.001)
    core.receive([frame], Answers(), 0.001)
    (said,) = core.credit(0.001)
    assert codec.from_client.decode(said) == wire.Collect(8, [])


def test_behind_a_large_frame_silence_means_nothing() -> None:
    core = SessionCore(wire.Hello(1, 1, bytes(16), "", "3.11"))
    core.receive([codec.encode(wire.Welcome(1, "run", True, [], 1.0, 10, 10))], Answers(), 0.0)
    assert codec.from_client.decode(core.announce(5 * LARGE_BYTES, 0.0)) == wire.Ping(5 * LARGE_BYTES)
    assert wire.Hello not in _said(core, 79.9)
    core.receive([codec.encode(wire.Pong(10 * LARGE_BYTES))], Answers(), 79.9)
    assert wire.Hello not in _said(core, 239.8)
    assert wire.Hello in _said(core, 240.0)


def test_a_large_frame_is_on_its_way_until_it_is_accepted_or_here() -> None:
    core = SessionCore(wire.Hello(1, 1, bytes(16), "", "3.11"))
    core.receive([codec.encode(wire.Welcome(1, "run", True, [], 1.0, 10, 10))], Answers(), 0.0)
    core.announce(9 * LARGE_BYTES, 1.0)
    assert core.on_its_way(1.0) is None, "what is not submitted may be here"
    core.put(1, b"")
    core.receive([codec.encode(wire.Pong())], Answers(), 2.0)
    assert core.on_its_way(2.0) == Large(9 * LARGE_BYTES, 1.0, comes=False)
    core.receive([codec.encode(wire.Accepted(1))], Answers(), 3.0)
    assert core.on_its_way(3.0) is None
    core.receive([codec.encode(wire.Pong(9 * LARGE_BYTES))], Answers(), 4.0)
    assert core.on_its_way(5.0) == Large(9 * LARGE_BYTES, 4.0, comes=True)
    core.receive([codec.encode(wire.Outcomes([]))], Answers(), 6.0)
    assert core.on_its_way(6.0) is None


def test_every_greeting_proves_nearness_that_after_a_silence_too() -> None:
    core = SessionCore(wire.Hello(1, 1, bytes(16), "", "3.11"))
    core.receive([codec.encode(wire.Welcome(1, "run", True, [], 1.0, 10, 10))], Answers(), 0.0)
    read: list[bytes] = []

    def near() -> bytes:
        read.append(b"proof")
        return b"proof"

    assert [codec.from_client.decode(frame) for frame in core.on_time(near, 1.0)] == [wire.Ping()]
    assert not read, "a file is not read for nothing"
    for now in (3.1, 13.1):  # the second one because nobody answers
        (greeting,) = map(codec.from_client.decode, core.on_time(near, now))
        assert isinstance(greeting, wire.Hello)
        assert greeting.near == b"proof"


def _said(core: SessionCore, now: float) -> list[type]:
    return [type(codec.from_client.decode(frame)) for frame in core.on_time(bytes, now)]
