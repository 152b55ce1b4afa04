"""What a sender's numbers tell: lost, late, doubled."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from blockyard_monitoring.sequence import Sequence


def test_numbers_in_order_are_all_there() -> None:
    seen = Sequence()
    assert all(seen.take(number) for number in range(1, 100))
    assert (seen.lost, seen.late, seen.doubled) == (0, 0, 0)


def test_a_gap_is_lost_until_it_comes_late() -> None:
    seen = Sequence()
    assert seen.take(1)
    assert seen.take(4)
    assert seen.lost == 2
    assert seen.take(2)
    assert (seen.lost, seen.late) == (1, 1)


def test_a_number_that_was_here_is_doubled() -> None:
    seen = Sequence()
    seen.take(1)
    seen.take(2)
    assert not seen.take(1)
    assert not seen.take(2)
    assert seen.doubled == 2


def test_hostile_jumps_cost_no_memory() -> None:
    seen = Sequence()
    for number in range(1, 1000):
        assert seen.take(number << 50)
    assert seen.lost == (999 << 50) - 999
    assert sys.getsizeof(seen._gaps) < 1000
    assert not seen.take(7), "given up long ago"
    assert seen.take((999 << 50) - 1)
    assert (seen.late, seen.doubled, seen.lost) == (1, 1, (999 << 50) - 1000)


@given(st.permutations(range(1, 30)), st.lists(st.integers(1, 29), max_size=20))
def test_whatever_the_order_nothing_is_lost_in_the_end_and_repeats_are_counted(
    order: list[int], repeats: list[int]
) -> None:
    seen = Sequence()
    assert all(seen.take(number) for number in order)
    assert not any(seen.take(number) for number in repeats)
    assert (seen.lost, seen.doubled) == (0, len(repeats))
