"""The log is never longer than it may be, loses nothing that is live, and costs the same per entry at any length.

The reactor is played by a dictionary of what is live. Sizes are small here; `make soak` writes 10^7 entries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from blockyard_interchange.journal import Log, MemoryStore, SQLiteStore, Store
from tests.machine import Size

FLOOR_BYTES = 20_000
KEY_BYTES = 8

# What SQLite adds to twice the live data: the floor of the log, the write-ahead log (4 MiB and one commit), and the
# free pages that it keeps (2 MiB and an eighth of the rest).
FILE_FLOOR_BYTES = 12 * 1024 * 1024


class Reactor:
    """Makes entries, forgets entries, and answers the log's question which of them still count."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.live: dict[bytes, bytes] = {}
        self.live_bytes = 0
        self.rewritten = 0
        self._made = 0

    def add(self, size: int) -> bytes:
        key = self._made.to_bytes(KEY_BYTES, "big")
        self._made += 1
        self.live[key] = entry = key + bytes(size)
        self.live_bytes += len(entry)
        self.log.append(entry)
        return key

    def forget(self, key: bytes) -> None:
        self.live_bytes -= len(self.live.pop(key))

    def commit(self) -> None:
        self.log.commit(sync=False)
        while (number := self.log.oldest_to_compact(self.live_bytes)) is not None:
            entries = self.log.entries(number)
            kept = [entry for entry in entries if self.live.get(entry[:KEY_BYTES]) is not None]
            self.rewritten += len(kept)
            self.log.replace_oldest(kept)
        self.log.commit(sync=False)


def reopened(store: Store, floor_bytes: int) -> tuple[Log, list[bytes]]:
    log = Log(store, floor_bytes=floor_bytes)
    log.open()
    return log, list(log.replay())


class LogMachine(RuleBasedStateMachine):
    """Any order of adding, forgetting, committing and restarting."""

    @initialize()
    def begin(self) -> None:
        self.store = MemoryStore()
        self.log, entries = reopened(self.store, FLOOR_BYTES)
        assert entries == []
        self.reactor = Reactor(self.log)
        self.committed: dict[bytes, bytes] = {}

    @rule(sizes=st.lists(st.integers(100, 3000), min_size=1, max_size=20))
    def add(self, sizes: list[int]) -> None:
        for size in sizes:
            self.reactor.add(size)

    @precondition(lambda self: self.reactor.live)
    @rule(data=st.data(), oldest=st.booleans())
    def forget(self, data: st.DataObject, *, oldest: bool) -> None:
        keys = list(self.reactor.live)
        count = data.draw(st.integers(1, len(keys)))
        for key in keys[:count] if oldest else keys[-count:]:
            self.reactor.forget(key)

    @rule()
    def commit(self) -> None:
        self.reactor.commit()
        self.committed = dict(self.reactor.live)

    @rule()
    def die_and_replay(self) -> None:
        """What was forgotten may come back, what was committed and still counts must; nothing else."""
        made, live = self.reactor._made, self.reactor.live
        self.store.close()
        self.log, entries = reopened(self.store, FLOOR_BYTES)
        found = {entry[:KEY_BYTES]: entry for entry in entries}
        assert all(found[key] == entry for key, entry in self.committed.items() if key in live)
        self.reactor = Reactor(self.log)
        self.reactor._made = made
        self.reactor.live = {key: entry for key, entry in found.items() if key in live}
        self.reactor.live_bytes = sum(map(len, self.reactor.live.values()))
        self.committed = dict(self.reactor.live)

    @invariant()
    def total_is_the_sum_of_what_is_stored(self) -> None:
        stored = sum(len(body) for _, body in self.store.chunks())
        assert self.log.total_bytes == stored + self.log.staged_bytes

    def teardown(self) -> None:
        if not hasattr(self, "reactor"):
            return
        self.reactor.commit()
        assert self.log.total_bytes <= max(FLOOR_BYTES, 2 * self.reactor.live_bytes) + 20_000


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), live=st.integers(0, 400), size=st.integers(50, 2000), group=st.integers(1, 64))
def test_rewriting_costs_at_most_a_few_entries_per_entry(seed: int, live: int, size: int, group: int) -> None:
    """Whatever lives long and whatever is forgotten at random: amortised O(1)."""
    dice = Random(seed)
    log, _ = reopened(MemoryStore(), FLOOR_BYTES)
    reactor = Reactor(log)
    keys: list[bytes] = []
    for turn in range(4000):
        keys.append(reactor.add(dice.randrange(size)))
        while len(keys) > live:
            place = dice.randrange(len(keys)) if turn % 2 else 0
            keys[place], keys[-1] = keys[-1], keys[place]
            reactor.forget(keys.pop())
        if turn % group == 0:
            reactor.commit()
            assert log.total_bytes <= max(FLOOR_BYTES, 2 * reactor.live_bytes) + group * size + 4096
    assert reactor.rewritten <= 4 * 4000


@contextmanager
def sqlite_reactor(path: Path) -> Iterator[Reactor]:
    store = SQLiteStore(path)
    log = Log(store)
    log.open()
    assert list(log.replay()) == []
    try:
        yield Reactor(log)
    finally:
        log.close()


@pytest.mark.soak
@pytest.mark.parametrize("lifetime", ["in order", "at random", "some for ever"])
def test_the_file_stays_within_twice_its_live_data(tmp_path: Path, size: Size, lifetime: str) -> None:
    entries, window = (60_000, 12_000) if size is Size.SMALL else (10_000_000, 100_000)
    dice = Random(entries)
    keys: deque[bytes] = deque()
    path = tmp_path / "journal.db"
    with sqlite_reactor(path) as reactor:
        for turn in range(entries):
            key = reactor.add(dice.randrange(700, 1300))
            if lifetime != "some for ever" or turn % 100 or len(reactor.live) > window:
                keys.append(key)
            if len(reactor.live) > window:
                if lifetime == "at random":
                    place = dice.randrange(len(keys))
                    keys[place], keys[0] = keys[0], keys[place]
                reactor.forget(keys.pop() if lifetime == "some for ever" else keys.popleft())
            if turn % 256 == 0:
                reactor.commit()
                assert reactor.log.size_bytes() <= 2 * reactor.live_bytes + FILE_FLOOR_BYTES
        assert reactor.rewritten <= 4 * entries
        shrink(reactor)
        assert reactor.log.size_bytes() <= FILE_FLOOR_BYTES
        reactor.log.close()
        assert path.stat().st_size <= FILE_FLOOR_BYTES
        reactor.log.open()
        assert {entry[:KEY_BYTES] for entry in reactor.log.replay()} >= set(reactor.live)


def shrink(reactor: Reactor) -> None:
    """Forget nearly all, and let a few commits follow, as the acknowledgements of it would."""
    for key in list(reactor.live)[:-100]:
        reactor.forget(key)
    for _ in range(10):
        reactor.add(10)
        reactor.commit()
