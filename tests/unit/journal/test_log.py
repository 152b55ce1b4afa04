"""The log above a store in memory: grouping, replay, compaction, commits in doubt. Real stores are tested beside it."""

from __future__ import annotations

import pytest

from blockyard_interchange.journal import Fenced, JournalDamaged, JournalFull, JournalUnavailable, Log, MemoryStore
from blockyard_interchange.journal.log import CHUNK_BYTES
from tests.unit.journal.faulty_store import Fails, FaultyStore


def opened(store: MemoryStore, *, floor_bytes: int = 1000) -> Log:
    log = Log(store, floor_bytes=floor_bytes)
    log.open()
    assert list(log.replay()) == []
    return log


def write(log: Log, *entries: bytes) -> None:
    for entry in entries:
        log.append(entry)
    log.commit(sync=False)


def replayed(store: MemoryStore) -> list[bytes]:
    """What a new process would find."""
    store.close()
    log = Log(store)
    log.open()
    return list(log.replay())


def test_entries_are_replayed_in_the_order_of_their_commits() -> None:
    store = MemoryStore()
    log = opened(store)
    write(log, b"a", b"", b"b" * 300)
    write(log, b"c")
    assert replayed(store) == [b"a", b"", b"b" * 300, b"c"]


def test_one_commit_is_one_chunk() -> None:
    store = FaultyStore()
    log = opened(store)
    write(log, *(b"%d" % n for n in range(500)))
    assert store.bounds() == (1, 2)
    assert log.entries(1) == [b"%d" % n for n in range(500)]


def test_nothing_staged_is_no_commit() -> None:
    store = FaultyStore()
    log = opened(store)
    log.commit(sync=True)
    assert store.commits == 0


def test_what_was_not_committed_is_not_replayed() -> None:
    store = MemoryStore()
    log = opened(store)
    write(log, b"committed")
    log.append(b"staged only")
    assert replayed(store) == [b"committed"]


def test_a_large_group_is_cut_into_chunks_of_one_commit() -> None:
    store = FaultyStore()
    log = opened(store)
    entries = [bytes([n % 256]) * 100_000 for n in range(35)]
    write(log, *entries)
    assert store.commits == 1
    assert store.bounds()[1] > 3
    assert max(map(len, (body for _, body in store.chunks()))) <= CHUNK_BYTES + 1000
    assert replayed(store) == entries


def test_an_entry_larger_than_a_chunk_goes_alone() -> None:
    store = MemoryStore()
    log = opened(store)
    entries = [b"small", bytes(3 * CHUNK_BYTES), b"small too"]
    write(log, *entries)
    assert replayed(store) == entries


def test_nothing_is_compacted_below_the_floor() -> None:
    log = opened(MemoryStore(), floor_bytes=1000)
    write(log, b"x" * 900)
    assert log.oldest_to_compact(live_bytes=0) is None
    write(log, b"x" * 200)
    assert log.oldest_to_compact(live_bytes=0) == 1


def test_nothing_is_compacted_while_most_is_live() -> None:
    log = opened(MemoryStore())
    for _ in range(10):
        write(log, b"x" * 1000)
    assert log.oldest_to_compact(live_bytes=10_000) is None
    assert log.oldest_to_compact(live_bytes=7_000) is None
    assert log.oldest_to_compact(live_bytes=6_000) == 1


def test_the_oldest_chunk_is_replaced_by_what_is_kept_of_it_in_one_commit() -> None:
    store = FaultyStore()
    log = opened(store, floor_bytes=0)
    write(log, b"dead", b"live")
    write(log, b"other")
    before = store.commits
    assert log.oldest_to_compact(live_bytes=1) == 1
    log.replace_oldest([b"live"])
    write(log, b"new")
    assert store.commits == before + 1
    assert store.bounds() == (2, 4)
    assert replayed(store) == [b"other", b"live", b"new"]


def test_several_chunks_may_be_replaced_before_one_commit() -> None:
    store = MemoryStore()
    log = opened(store, floor_bytes=0)
    for n in range(5):
        write(log, b"%d" % n)
    for n in range(4):
        assert log.oldest_to_compact(live_bytes=0) == n + 1
        log.replace_oldest([b"%d" % n] if n % 2 else [])
    log.commit(sync=False)
    assert replayed(store) == [b"4", b"1", b"3"]


def test_replacing_is_not_repeated_for_a_chunk_that_is_being_dropped() -> None:
    log = opened(MemoryStore(), floor_bytes=0)
    write(log, b"1")
    write(log, b"2")
    log.replace_oldest([])
    assert log.oldest_to_compact(live_bytes=0) == 2
    log.replace_oldest([])
    assert log.oldest_to_compact(live_bytes=0) is None
    log.commit(sync=False)
    assert log.total_bytes == 0


def test_a_log_that_can_not_shrink_is_not_rewritten_again_and_again() -> None:
    """The caller says that less is live than it keeps: each pass frees nothing."""
    log = opened(MemoryStore(), floor_bytes=0)
    for n in range(50):
        write(log, b"%03d" % n * 100)
    rewritten = 0
    for _ in range(2000):
        number = log.oldest_to_compact(live_bytes=100)
        if number is None:
            break
        log.replace_oldest(log.entries(number))
        log.commit(sync=False)
        rewritten += 1
    assert rewritten <= 2 * 50
    assert log.oldest_to_compact(live_bytes=100) is None
    write(log, b"x" * 6000)
    assert log.oldest_to_compact(live_bytes=100) is not None, "after it has grown by more than a quarter it tries again"


def test_a_pass_in_vain_does_not_keep_a_log_long_whose_entries_have_died_since() -> None:
    log = opened(MemoryStore(), floor_bytes=0)
    for n in range(50):
        write(log, b"%03d" % n * 100)
    while (number := log.oldest_to_compact(live_bytes=1000)) is not None:
        log.replace_oldest(log.entries(number))
        log.commit(sync=False)
    assert log.oldest_to_compact(live_bytes=100) is not None


def test_numbers_and_sizes_are_known_again_after_a_restart() -> None:
    store = MemoryStore()
    log = opened(store)
    for n in range(20):
        write(log, b"%d" % n * 100)
    before = log.total_bytes
    store.close()
    again = Log(store, floor_bytes=1000)
    assert again.open() == 2
    assert len(list(again.replay())) == 20
    assert again.total_bytes == before
    assert again.oldest_to_compact(live_bytes=0) == 1


def test_a_commit_that_did_not_fit_stays_staged_and_is_written_later() -> None:
    store = FaultyStore()
    log = opened(store)
    store.plan = [Fails.FULL, Fails.FULL]
    log.append(b"first")
    for _ in range(2):
        with pytest.raises(JournalFull):
            log.commit(sync=False)
    log.append(b"second")
    log.commit(sync=False)
    assert replayed(store) == [b"first", b"second"]


@pytest.mark.parametrize("fault", [Fails.LOST_BEFORE, Fails.LOST_AFTER])
def test_a_commit_in_doubt_is_kept_exactly_once(fault: Fails) -> None:
    store = FaultyStore()
    log = opened(store, floor_bytes=0)
    write(log, b"dead", b"live")
    log.replace_oldest([b"live"])
    log.append(b"in doubt")
    store.plan = [fault]
    with pytest.raises(JournalUnavailable):
        log.commit(sync=False)
    log.append(b"staged meanwhile")
    assert log.reopen() == 2
    log.commit(sync=False)
    assert log.total_bytes == sum(len(body) for _, body in store.chunks())
    assert replayed(store) == [b"live", b"in doubt", b"staged meanwhile"]


@pytest.mark.parametrize("fault", [Fails.LOST_BEFORE, Fails.LOST_AFTER])
def test_a_drop_in_doubt_happens_exactly_once(fault: Fails) -> None:
    store = FaultyStore()
    log = opened(store, floor_bytes=0)
    write(log, b"1")
    write(log, b"2")
    log.replace_oldest([])
    store.plan = [fault]
    with pytest.raises(JournalUnavailable):
        log.commit(sync=False)
    log.reopen()
    write(log, b"3")
    assert replayed(store) == [b"2", b"3"]


def test_reopening_is_fenced_when_another_writer_came_in_between() -> None:
    store = FaultyStore()
    log = opened(store)
    write(log, b"mine")
    store.close()
    store.open()
    with pytest.raises(Fenced, match="opening 3, expected 2"):
        log.reopen()


def test_reopening_a_journal_that_has_forgotten_is_damage() -> None:
    store = FaultyStore()
    log = opened(store)
    write(log, b"1")
    write(log, b"2")
    store._chunks.pop(2)
    store._bounds = (1, 2)
    with pytest.raises(JournalDamaged, match="were confirmed"):
        log.reopen()


def test_a_chunk_that_is_no_list_of_entries_is_damage_with_its_number() -> None:
    store = MemoryStore()
    log = opened(store)
    write(log, b"fine")
    store.commit([(2, b"\xc1 not msgpack")], (), sync=False)
    store.close()
    again = Log(store)
    again.open()
    with pytest.raises(JournalDamaged, match="chunk 2: is no list of entries"):
        list(again.replay())
