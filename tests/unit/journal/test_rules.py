"""The pure rules of the journal: bounds, checksums, gaps, the mark, what a reopened server must still hold."""

from __future__ import annotations

import pytest

from blockyard_interchange.journal import JournalDamaged
from blockyard_interchange.journal.mark import NOTHING, Mark, Standing, least_standing, read_mark, this_boot
from blockyard_interchange.journal.sqlite_file import fault_against_mark
from blockyard_interchange.journal.store import Row, bounds_after, checksum, fault_in, gap_before, verified
from blockyard_interchange.journal.unsafe_tail import UnsafeTail


def row(number: int, body: bytes) -> Row:
    return Row(number, len(body), checksum(number, body), body)


def test_the_bounds_follow_a_commit() -> None:
    assert bounds_after((3, 7), [(7, b""), (8, b"")], [3]) == (4, 9)
    assert bounds_after((3, 7), [], [3, 4, 5, 6]) == (7, 7)
    assert bounds_after((7, 7), [], []) == (7, 7)


@pytest.mark.parametrize(
    "append, drop", [([8], []), ([6], []), ([7, 9], []), ([], [4]), ([], [3, 5]), ([7], [3, 4, 5, 6, 7])]
)
def test_a_commit_out_of_turn_is_an_error_of_the_caller(append: list[int], drop: list[int]) -> None:
    with pytest.raises(ValueError, match=r"append: chunk|drop: chunk"):
        bounds_after((3, 7), [(number, b"") for number in append], drop)


def test_a_chunk_under_another_number_has_another_checksum() -> None:
    assert checksum(1, b"same") != checksum(2, b"same")
    assert fault_in(row(1, b"same")._replace(number=2)) is not None


def test_every_single_changed_byte_is_found() -> None:
    good = row(5, bytes(range(200)))
    assert fault_in(good) is None
    for place in range(200):
        changed = bytearray(good.body)
        changed[place] ^= 0x10
        assert "checksum" in str(fault_in(good._replace(body=bytes(changed))))
    assert "truncated" in str(fault_in(good._replace(body=good.body[:-1])))
    assert "stored as bytes" in str(fault_in(good._replace(body="text")))  # type: ignore[arg-type]


def test_a_gap_names_what_is_missing() -> None:
    assert gap_before(5, 4) == "chunk 4 is missing before it"
    assert gap_before(9, 4) == "chunks 4 to 8 are missing before it"
    assert "should not be there" in gap_before(3, 4)


@pytest.mark.parametrize(
    "numbers, said",
    [
        ([2, 3, 5], "chunk 5: chunk 4 is missing before it"),
        ([3, 4, 5], "chunk 3: chunk 2 is missing before it"),
        ([1, 2, 3, 4, 5], "chunk 1: should not be there"),
        ([2, 3, 4], "chunk 5: is missing"),
        ([2, 3, 4, 5, 6], "should go on to chunk 5"),
        ([], "chunk 2: is missing"),
    ],
)
def test_rows_that_are_not_exactly_the_range_are_damage(numbers: list[int], said: str) -> None:
    rows = [row(number, b"%d" % number) for number in numbers]
    with pytest.raises(JournalDamaged, match=said):
        list(verified(rows, 2, 6, "there"))


def test_the_mark_remembers_the_furthest_of_both_kinds(tmp_path: object) -> None:
    path = f"{tmp_path}/mark"
    mark = Mark(path)
    assert mark.open() == NOTHING
    mark.write(Standing(1, 1, 4), synced=True)
    for end in range(5, 20):
        mark.write(Standing(1, 2, end), synced=False)
    mark.close()
    assert read_mark(path) == Standing(1, 2, 19)
    assert Mark(path).open() == Standing(1, 2, 19)


def test_unsynced_marks_do_not_count_after_a_reboot(tmp_path: object) -> None:
    path = f"{tmp_path}/mark"
    mark = Mark(path)
    mark.open()
    mark.write(Standing(1, 1, 4), synced=True)
    mark.write(Standing(1, 1, 9), synced=False)
    mark.close()
    with open(path, "rb") as file:
        content = file.read()
    assert least_standing(content, this_boot()).end == 9
    assert least_standing(content, this_boot() + 1).end == 4


def test_a_mark_cut_short_leaves_the_one_before(tmp_path: object) -> None:
    path = f"{tmp_path}/mark"
    mark = Mark(path)
    mark.open()
    mark.write(Standing(1, 1, 4), synced=False)
    mark.write(Standing(1, 1, 5), synced=False)
    mark.close()
    with open(path, "rb") as file:
        content = file.read()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        assert least_standing(bytes(damaged), this_boot()).end in {4, 5}
        assert least_standing(content[:place], this_boot()).end in {1, 4, 5}


def test_no_mark_vouches_for_nothing() -> None:
    assert read_mark("/nonexistent/mark") == NOTHING
    assert least_standing(bytes(200), this_boot()) == NOTHING


@pytest.mark.parametrize(
    "found, chunk, said",
    [
        (Standing(2, 3, 9), 9, "chunk 9 is missing at the end"),
        (Standing(2, 3, 7), 7, "chunks 7 to 9 are missing at the end"),
        (Standing(1, 3, 10), None, "gone back to epoch 1"),
        (Standing(2, 2, 10), None, "gone back to epoch 2, first chunk 2"),
    ],
)
def test_a_journal_behind_its_mark_is_damaged(found: Standing, chunk: int | None, said: str) -> None:
    fault = fault_against_mark(found, Standing(2, 3, 10))
    assert fault is not None
    assert fault[0] == chunk
    assert said in fault[1]


@pytest.mark.parametrize("found", [Standing(2, 3, 10), Standing(2, 4, 11), Standing(3, 3, 10)])
def test_a_journal_at_or_ahead_of_its_mark_is_sound(found: Standing) -> None:
    assert fault_against_mark(found, Standing(2, 3, 10)) is None


def test_an_unsafe_tail_repeats_what_is_asked_for() -> None:
    tail = UnsafeTail()
    tail.add([(4, b"four"), (5, b"five")])
    tail.add([(6, b"six")])
    tail.add([])
    assert tail.since(5) == [(5, b"five"), (6, b"six")]
    assert tail.since(7) == []
    tail.clear()
    assert tail.since(1) == []


def test_an_unsafe_tail_knows_of_a_commit_that_only_dropped() -> None:
    tail, empty = UnsafeTail(), UnsafeTail()
    tail.add([])
    assert (bool(tail), bool(empty)) == (True, False)


def test_an_unsafe_tail_is_long_by_commits_and_by_bytes() -> None:
    by_commits, by_bytes = UnsafeTail(), UnsafeTail()
    for number in range(255):
        by_commits.add([(number, b"")])
    before = by_commits.is_long
    by_commits.add([])
    assert (before, by_commits.is_long) == (False, True)
    by_bytes.add([(1, bytes(5_000_000))])
    assert by_bytes.is_long
