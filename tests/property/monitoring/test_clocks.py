"""What is said of a clock is never more than tries prove, and makes the stages of those tries follow one another."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from blockyard.wire.monitoring import Tries, Try, TryState, Use, WorkerTasks
from blockyard_monitoring.clocks import WINDOW, Bracket, Clocks
from tests.unit.monitoring.messages import AT

SECOND = 1_000_000

offsets = st.integers(-3600 * SECOND, 3600 * SECOND)
"""What must truly be added to a worker's times."""
delays = st.integers(0, 10 * SECOND)
journeys = st.lists(st.tuples(delays, delays, delays), min_size=1, max_size=WINDOW)
"""Of tries: the way there, the run, the way back."""


def bracket_of(offset: int, ways: Sequence[tuple[int, int, int]]) -> Bracket:
    """What is known after tries with these ways, on a machine whose clock is wrong by `offset`."""
    bracket = Bracket()
    for low, high in (limits(offset, way) for way in ways):
        bracket.add(low, high)
    return bracket


def limits(offset: int, way: tuple[int, int, int]) -> tuple[int, int]:
    there, ran, back = way
    began = AT + there - offset
    ended = began + ran
    return AT - began, AT + there + ran + back - ended


@given(offsets, journeys)
def test_stages_follow_one_another_with_what_was_found(offset: int, ways: list[tuple[int, int, int]]) -> None:
    found = bracket_of(offset, ways).offset
    for there, ran, back in ways:
        assigned, returned = AT, AT + there + ran + back
        began = AT + there - offset + found
        assert assigned <= began <= began + ran <= returned


@given(offsets, journeys)
def test_it_is_never_more_than_the_truth_and_never_the_other_way(offset: int, ways: list[tuple[int, int, int]]) -> None:
    found = bracket_of(offset, ways).offset
    assert abs(found) <= abs(offset)
    assert found * offset >= 0


@given(offsets, journeys)
def test_it_is_as_near_as_the_fastest_ways_allow(offset: int, ways: list[tuple[int, int, int]]) -> None:
    found = bracket_of(offset, ways).offset
    slowest = max(min(there for there, _, _ in ways), min(back for _, _, back in ways))
    assert abs(found - offset) <= slowest or found == 0


@given(journeys)
def test_a_clock_that_is_right_stays_as_it_is(ways: list[tuple[int, int, int]]) -> None:
    assert bracket_of(0, ways).offset == 0


@given(offsets, offsets, journeys, journeys)
def test_a_clock_that_is_set_is_believed_soon(
    before: int, after: int, first: list[tuple[int, int, int]], then: list[tuple[int, int, int]]
) -> None:
    bracket = bracket_of(before, first)
    for _ in range(2 * WINDOW // len(then) + 2):
        for way in then:
            bracket.add(*limits(after, way))
    assert abs(bracket.offset) <= abs(after)
    assert bracket.offset * after >= 0


@settings(max_examples=50)
@given(
    offsets,
    st.lists(st.tuples(delays, delays, delays), min_size=2, max_size=40),
    st.booleans(),
    st.integers(1, 7),
)
def test_records_in_either_order_and_any_batches_tell_the_same_truth(
    offset: int, ways: list[tuple[int, int, int]], workers_first: bool, size: int
) -> None:
    clocks = Clocks()
    for begin in range(0, len(ways), size):
        tries, uses = _records(offset, ways[begin : begin + size], begin)
        for record in (uses, tries) if workers_first else (tries, uses):
            clocks.take(record)
    found = clocks.offset("m1")
    assert abs(found) <= abs(offset)
    assert found * offset >= 0
    assert clocks.offset("another") == 0


def _records(offset: int, ways: list[tuple[int, int, int]], first: int) -> tuple[Tries, WorkerTasks]:
    """What interchange and worker tell of tries that all returned together, when the last of them did."""
    returned = AT + max(sum(way) for way in ways)
    tries, uses = [], []
    for place, (there, ran, _) in enumerate(ways, first):
        tries.append(Try(place, 1, TryState.DONE, is_last=True, queued_us=AT, assigned_us=AT))
        uses.append(Use(place, 1, AT + there - offset, AT + there - offset + ran))
    return (
        Tries(0, "default", "m1", "b", "n", returned, tries),
        WorkerTasks("default", "m1", "b", "n", 0, 1, "", uses),
    )


@given(st.lists(st.tuples(st.integers(-(1 << 60), 1 << 60), st.integers(-(1 << 60), 1 << 60)), max_size=50))
def test_nonsense_gives_a_number_and_no_error(limits: list[tuple[int, int]]) -> None:
    bracket = Bracket()
    for low, high in limits:
        bracket.add(low, high)
        assert -(1 << 60) <= bracket.offset <= 1 << 60
