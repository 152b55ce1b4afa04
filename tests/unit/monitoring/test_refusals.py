"""Nonsense is counted, all of it, and fills no log."""

import pytest

from blockyard.radios.suites import CollectingBus
from blockyard_monitoring.refusals import Refusals


def test_all_are_counted_and_one_in_ten_seconds_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bus, now = CollectingBus(), 100.0
    refusals = Refusals(bus, "zmq", lambda: now)
    for _ in range(1000):
        refusals.add("malformed", "no packet")
    now += 10.0
    refusals.add("key", "a stranger")
    assert bus.refused == {"malformed": 1000, "key": 1}
    assert caplog.messages == [
        "radio zmq: malformed is refused: no packet",
        "radio zmq: key is refused: a stranger; and 999 others since the last that was logged",
    ]
