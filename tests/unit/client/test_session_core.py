"""What a client's session says unasked. What it says again after a reconnect: `tests/simulation`."""

from itertools import pairwise

from blockyard.session.core import Answers, SessionCore
from blockyard.wire import client as wire
from blockyard.wire import codec
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
