"""However often a peer gives cause for it, the log grows by little."""

import logging

import pytest

from blockyard_interchange.complaints import COMPLAINT_SECONDS, Complaints


def test_one_in_a_second_is_logged_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    complaints = Complaints(logging.getLogger("complaints"), lambda: now)
    for number in range(1000):
        complaints.add("frame %d refused", number)
    now += COMPLAINT_SECONDS
    complaints.add("frame %s refused", "of another peer")
    assert caplog.messages == [
        "frame 0 refused (the 1. of this kind)",
        "frame of another peer refused (the 1001. of this kind)",
    ]
