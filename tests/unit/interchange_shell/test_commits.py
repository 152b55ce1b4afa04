"""When the interchange commits, and what it does with turns while it cannot."""

from collections.abc import Sequence

import pytest

from blockyard.wire.client import Pong
from blockyard_interchange.commits import COMPANY_SECONDS, CONFIRM_SECONDS, RETRY_SECONDS, Commits
from blockyard_interchange.core.effects import Effects
from blockyard_interchange.core.entries import ManagerLeft
from blockyard_interchange.journal import Fenced, JournalFull, JournalUnavailable, Log, MemoryStore

NOW = 100.0


def quiet(name: str = "m") -> Effects:
    return Effects(entries=[ManagerLeft(name)])


def urgent() -> Effects:
    return Effects(entries=[ManagerLeft("u")], after_clients=[(b"peer", Pong())])


class Sulking(MemoryStore):
    """A store that refuses so many commits."""

    def __init__(self, *refusals: Exception) -> None:
        super().__init__()
        self.refusals = list(refusals)
        self.commits = 0

    def commit(self, append: Sequence[tuple[int, bytes]], drop: Sequence[int], *, sync: bool) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.commits += 1
        super().commit(append, drop, sync=sync)


def opened(store: MemoryStore) -> Commits:
    log = Log(store)
    log.open()
    list(log.replay())
    return Commits(log)


def nothing() -> bool:
    return False


class Lost(MemoryStore):
    """A store that somebody else has become the writer of, or that is away."""

    error: Exception | None = None

    def confirm(self) -> None:
        if self.error is not None:
            raise self.error


def test_one_that_only_says_pong_notices_that_another_is_the_writer() -> None:
    store = Lost()
    commits = opened(store)
    pongs = Effects(after_clients=[(b"peer", Pong())])
    commits.add(pongs, NOW)
    assert commits.commit(NOW, nothing) == [pongs]
    store.error = Fenced("another interchange is the writer now")
    for tenth in range(1, int(CONFIRM_SECONDS * 10)):
        commits.add(pongs, NOW + tenth / 10)
        assert commits.commit(NOW + tenth / 10, nothing) == [pongs]
    commits.add(pongs, NOW + CONFIRM_SECONDS)
    with pytest.raises(Fenced):
        commits.commit(NOW + CONFIRM_SECONDS, nothing)


def test_a_journal_that_is_away_holds_clients_though_there_is_nothing_to_write() -> None:
    store = Lost()
    commits = opened(store)
    store.error = JournalUnavailable("away")
    assert commits.commit(NOW, nothing) == []
    assert commits.is_failing
    assert commits.commit(NOW + RETRY_SECONDS, nothing) == []
    assert commits.is_failing, "having nothing to write is no sign that it could be written"
    store.error = None
    commits.commit(NOW + 2 * RETRY_SECONDS, nothing)
    assert not commits.is_failing


def test_a_turn_that_somebody_waits_for_takes_the_quiet_ones_before_it_along() -> None:
    store = Sulking()
    commits = opened(store)
    turns = [quiet(), quiet(), urgent()]
    for turn in turns[:2]:
        commits.add(turn, NOW)
        assert commits.commit(NOW, nothing) == []
    commits.add(turns[2], NOW + 0.001)
    assert commits.commit(NOW + 0.001, nothing) == turns
    assert store.commits == 1


def test_a_quiet_turn_does_not_wait_for_ever() -> None:
    commits = opened(Sulking())
    commits.add(quiet(), NOW)
    assert commits.seconds_left(NOW) == pytest.approx(COMPANY_SECONDS)
    commits.add(quiet(), NOW + COMPANY_SECONDS / 2)
    assert len(commits.commit(NOW + 2 * COMPANY_SECONDS, nothing)) == 2
    assert commits.seconds_left(NOW) > 1e9


def test_turns_gather_while_the_journal_is_full_and_are_done_in_order_afterwards() -> None:
    store = Sulking(JournalFull("no space"), JournalFull("no space"))
    commits = opened(store)
    turns = [urgent(), urgent(), quiet()]
    commits.add(turns[0], NOW)
    assert commits.commit(NOW, nothing) == []
    assert commits.is_failing
    commits.add(turns[1], NOW + 0.01)
    assert commits.seconds_left(NOW + 0.01) > RETRY_SECONDS / 2
    assert commits.commit(NOW + RETRY_SECONDS, nothing) == []
    commits.add(turns[2], NOW + RETRY_SECONDS)
    assert commits.commit(NOW + 3 * RETRY_SECONDS, nothing) == turns
    assert store.commits == 2, "what was refused is written as it was, what came later behind it"
    commits.add(urgent(), NOW + 1)
    assert len(commits.commit(NOW + 1, nothing)) == 1


def test_an_unavailable_journal_is_opened_again() -> None:
    store = Sulking(JournalUnavailable("gone"))
    commits = opened(store)
    turn = urgent()
    commits.add(turn, NOW)
    assert commits.commit(NOW, nothing) == []
    assert commits.commit(NOW + RETRY_SECONDS, nothing) == [turn]


def test_compaction_goes_on_when_nobody_says_anything_any_more() -> None:
    commits = opened(Sulking())
    left = [3]

    def compact() -> bool:
        left[0] -= 1
        return left[0] > 0

    commits.add(urgent(), NOW)
    commits.commit(NOW, compact)
    while commits.seconds_left(NOW) == 0:
        assert commits.commit(NOW, compact) == []
    assert left == [0]
