"""What may be confirmed when messages are stored in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from blockyard_monitoring.confirming import Confirming


def test_a_gap_holds_the_confirmation_back() -> None:
    one = Confirming()
    for number in (1, 2, 3):
        one.begin(number)
    assert not one.done(2)
    assert not one.done(3)
    assert one.confirmed == 0
    assert one.done(1)
    assert one.confirmed == 3


def test_numbers_that_never_came_are_not_waited_for() -> None:
    one = Confirming()
    one.begin(5)
    assert one.done(5)
    assert one.confirmed == 5


@given(st.permutations(range(1, 20)), st.permutations(range(1, 20)))
def test_it_never_confirms_what_is_not_stored_and_in_the_end_everything(first: list[int], second: list[int]) -> None:
    one, stored = Confirming(), set[int]()
    for number in range(1, 20):
        one.begin(number)
        one.begin(number)  # sent again
    for number in (*first, *second):
        stored.add(number)
        one.done(number)
        assert set(range(1, one.confirmed + 1)) <= stored
    assert one.confirmed == 19
