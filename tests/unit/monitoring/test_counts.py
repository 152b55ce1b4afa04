"""What the hub counts by radio is what the numbers of all of its senders say together, at any moment."""

import random
from collections import defaultdict

import pytest

from blockyard_monitoring import counts as counts_of
from blockyard_monitoring.counts import Counts
from blockyard_monitoring.sequence import Sequence


def test_the_sums_are_those_of_all_senders() -> None:
    chance = random.Random(5)
    counts, senders = Counts(), defaultdict[tuple[str, str], Sequence](Sequence)
    for _ in range(5_000):
        key = chance.choice(("udp", "zmq")), f"sender-{chance.randrange(20)}"
        number = max(1, senders[key].highest + chance.choice((1, 1, 1, 2, 5, 0, -1, -3, -200)))
        assert counts.take(*key, number, 3) == senders[key].take(number)
    for radio, found in counts.by_radio().items():
        own = [one for (name, _), one in senders.items() if name == radio]
        assert (found.lost, found.late, found.doubled) == (
            sum(one.lost for one in own), sum(one.late for one in own), sum(one.doubled for one in own),
        )  # fmt: skip
        assert min(found.lost, found.late, found.doubled) > 0


def test_what_a_forgotten_sender_lost_stays_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts_of, "_MOST_SOURCES", 2)
    counts = Counts()
    for sender in range(5):
        counts.take("udp", str(sender), 4, 1)
    assert counts.by_radio()["udp"].lost == 15
    counts.by_radio()["udp"].lost = 0
    assert counts.by_radio()["udp"].lost == 15, "it was a copy"
