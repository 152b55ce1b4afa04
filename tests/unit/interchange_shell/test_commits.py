"""When the interchange commits, and what it does with turns while it cannot."""

from collections.abc import Sequence

import pytest

from blockyard.wire.client import Pong
from blockyard_interchange.commits import COMPANY_SECONDS, RETRY_SECONDS, Commits
from blockyard_interchange.core.effects import Effects
from blockyard_interchange.core.entries import ManagerLeft
from blockyard_interchange.journal import JournalFull, JournalUnavailable, Log, MemoryStore

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


def opened(store: Sulking) -> Commits:
    log = Log(store)
    log.open()
    list(log.replay())
    return Commits(log)


def nothing() -> None:
    return None


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
