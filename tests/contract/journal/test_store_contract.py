"""What every store promises, checked on all three. Deaths, damage and full disks have files of their own beside it."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from blockyard_interchange.journal import JournalInUse, JournalUnavailable
from tests.contract.journal.places import AnyStore, Place, extend

Opened = Callable[[], AnyStore]


def test_a_new_journal_is_empty_and_begins_at_chunk_one(opened: Opened) -> None:
    store = opened()
    assert store.bounds() == (1, 1)
    assert list(store.chunks()) == []


def test_chunks_are_read_back_as_written_in_order(opened: Opened) -> None:
    store = opened()
    bodies = [b"", b"one", bytes(range(256)) * 40, b"\x00" * 70_000, b"last"]
    for body in bodies:
        extend(store, body)
    assert list(store.chunks()) == list(enumerate(bodies, 1))
    assert [store.read(number) for number in range(1, 6)] == bodies


def test_one_commit_may_append_several_chunks(opened: Opened) -> None:
    store = opened()
    assert extend(store, b"a", b"b" * 5000, b"c", sync=True) == [1, 2, 3]
    assert list(store.chunks()) == [(1, b"a"), (2, b"b" * 5000), (3, b"c")]


def test_an_empty_commit_changes_nothing(opened: Opened) -> None:
    store = opened()
    extend(store, b"a")
    store.commit([], [], sync=False)
    store.commit([], [], sync=True)
    assert list(store.chunks()) == [(1, b"a")]


@pytest.mark.parametrize("sync", [False, True])
def test_a_restart_finds_what_was_committed(place: Place, opened: Opened, sync: bool) -> None:
    store = opened()
    extend(store, b"a", sync=sync)
    extend(store, b"b", b"c", drop=1, sync=sync)
    store.close()
    again = opened()
    assert again.bounds() == (2, 4)
    assert list(again.chunks()) == [(2, b"b"), (3, b"c")]


def test_each_opening_has_a_greater_epoch(opened: Opened, place: Place) -> None:
    epochs = []
    for _ in range(4):
        store = place.store()
        epochs.append(store.open())
        store.close()
    assert epochs[0] >= 1
    assert epochs == sorted(set(epochs))


def test_synced_and_unsynced_commits_may_alternate(opened: Opened) -> None:
    store = opened()
    for turn in range(12):
        extend(store, b"%d" % turn, drop=turn % 2, sync=turn % 3 == 0)
    store.close()
    assert [body for _, body in opened().chunks()] == [b"%d" % turn for turn in range(6, 12)]


def test_numbers_go_on_after_all_chunks_were_dropped_and_a_restart(opened: Opened) -> None:
    store = opened()
    extend(store, b"a", b"b", b"c")
    extend(store, drop=3)
    assert store.bounds() == (4, 4)
    store.close()
    again = opened()
    assert again.bounds() == (4, 4)
    assert extend(again, b"d") == [4]
    assert list(again.chunks()) == [(4, b"d")]


def test_an_append_and_a_drop_happen_in_one_commit(opened: Opened) -> None:
    store = opened()
    extend(store, b"a", b"b")
    extend(store, b"a again", drop=1)
    assert list(store.chunks()) == [(2, b"b"), (3, b"a again")]


@pytest.mark.parametrize(
    "append, drop, culprit",
    [
        ([(3, b"")], [], "append: chunk 3"),
        ([(5, b"")], [], "append: chunk 5"),
        ([(4, b""), (6, b"")], [], "append: chunk 6"),
        ([], [2], "drop: chunk 2"),
        ([], [1, 3], "drop: chunk 3"),
        ([], [1, 2, 3, 4], "drop: chunk 4"),
        ([(4, b"")], [1, 2, 3, 4], "drop: chunk 4"),
    ],
)
def test_numbers_out_of_turn_are_refused_by_name_and_change_nothing(
    opened: Opened, append: list[tuple[int, bytes]], drop: list[int], culprit: str
) -> None:
    store = opened()
    extend(store, b"1", b"2", b"3")
    with pytest.raises(ValueError, match=culprit):
        store.commit(append, drop, sync=False)
    assert list(store.chunks()) == [(1, b"1"), (2, b"2"), (3, b"3")]
    assert extend(store, b"4") == [4]


def test_a_chunk_that_is_not_there_cannot_be_read(opened: Opened) -> None:
    store = opened()
    extend(store, b"1", b"2")
    extend(store, drop=1)
    for number in (0, 1, 3):
        with pytest.raises(LookupError):
            store.read(number)


def test_commits_may_come_between_two_chunks_that_are_read(opened: Opened) -> None:
    store = opened()
    extend(store, b"1", b"2", b"3")
    seen = []
    for number, body in store.chunks():
        seen.append(body)
        if number < 3:
            extend(store, b"later")
    assert seen[:3] == [b"1", b"2", b"3"]


def test_a_second_writer_is_refused_and_the_first_one_goes_on(place: Place, opened: Opened) -> None:
    first = opened()
    extend(first, b"mine")
    second = place.store()
    with pytest.raises(JournalInUse) as refused:
        second.open()
    assert "Stop" in str(refused.value) or "Close" in str(refused.value)
    extend(first, b"mine too")
    assert [body for _, body in first.chunks()] == [b"mine", b"mine too"]


def test_the_next_writer_gets_in_when_the_first_has_closed(place: Place, opened: Opened) -> None:
    first = opened()
    extend(first, b"from the first")
    first.close()
    second = opened()
    extend(second, b"from the second")
    assert [body for _, body in second.chunks()] == [b"from the first", b"from the second"]


def test_a_store_that_is_closed_says_so_and_closes_twice(opened: Opened) -> None:
    store = opened()
    store.close()
    store.close()
    for use in (lambda: extend(store, b"x"), lambda: store.read(1), lambda: list(store.chunks())):
        with pytest.raises(JournalUnavailable, match="open"):
            use()


def test_many_chunks_of_all_sizes_come_back_complete(opened: Opened) -> None:
    store = opened()
    bodies = [bytes([turn % 251]) * (turn * turn % 9000) for turn in range(300)]
    for turn in range(0, 300, 5):
        extend(store, *bodies[turn : turn + 5])
    assert [body for _, body in store.chunks()] == bodies


def test_the_size_grows_with_what_is_stored(opened: Opened) -> None:
    store = opened()
    before = store.size_bytes()
    extend(store, bytes(before + 400_000))  # more than others may have left free in tables that are shared
    assert store.size_bytes() >= before + 300_000


def test_the_footprint_of_a_chunk_is_at_least_its_size_and_grows_with_it(opened: Opened) -> None:
    store = opened()
    footprints = [store.footprint(size) for size in range(0, 20_000, 7)]
    assert footprints == sorted(footprints)
    assert all(footprint >= size for footprint, size in zip(footprints, range(0, 20_000, 7), strict=True))


def test_errors_survive_pickling(place: Place, opened: Opened) -> None:
    opened()
    with pytest.raises(JournalInUse) as refused:
        place.store().open()
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
