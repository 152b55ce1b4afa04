"""Batches follow one another the more slowly the longer a crowd lasts, and at once what comes alone."""

from blockyard.pace import Limits, Pace


def test_the_wait_grows_with_a_crowd_up_to_its_bound_and_is_short_again_after_it() -> None:
    pace = Pace(Limits(least=1.0, most=5.0, crowd=4))
    waits = [pace.seconds]
    for messages in (4, 9, 4, 3, 4, 0):
        pace.went(messages)
        waits.append(pace.seconds)
    assert waits == [1.0, 2.0, 4.0, 5.0, 1.0, 2.0, 1.0]


def test_without_limits_nothing_waits() -> None:
    pace = Pace(Limits())
    pace.went(1000)
    assert pace.seconds == 0.0
