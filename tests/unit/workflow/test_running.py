"""How often a run is looked at while it is waited for: it is asked about more often the nearer its end is."""

import pytest

from blockyard.workflow.running import next_pause


@pytest.mark.parametrize(
    "pause, ended, left, comes_to",
    [
        (0.1, 100, 400, 0.2),  # at this rate 0.4 s are left
        (0.1, 100, 10, 0.02),
        (0.1, 100, 0, 0.02),
        (0.1, 1, 100_000, 2.0),
        (0.1, 0, 5, 0.15),
        (0.1, -5, 5, 0.15),  # the first look: nothing to compare with
        (0.5, 0, 5, 0.5),
    ],
)
def test_half_of_what_is_left_is_waited_or_longer_each_time(
    pause: float, ended: int, left: int, comes_to: float
) -> None:
    assert next_pause(pause, ended, left) == pytest.approx(comes_to)
