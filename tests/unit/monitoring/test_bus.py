"""The bus: bounded, never waiting, honest about what it drops and what is stored."""

import pytest

from blockyard.pace import Limits
from blockyard_monitoring.bus import Bus
from tests.unit.monitoring.messages import a_sample, an_arrival, some_tries


@pytest.fixture
def bus() -> Bus:
    return Bus()


def test_every_sink_gets_every_message_in_order(bus: Bus) -> None:
    feeds = [bus.feed(name, must_not_miss=False) for name in ("a", "b")]
    for number in (1, 2, 3):
        assert bus.put(an_arrival(some_tries(), number=number))
    for feed in feeds:
        assert [entry.arrival.packet.number for entry in feed.take(0.0)] == [1, 2, 3]


def test_it_is_confirmed_when_all_sinks_that_must_not_miss_it_have_stored_it(bus: Bus) -> None:
    confirmed: list[int] = []
    one, other = bus.feed("a", must_not_miss=True), bus.feed("b", must_not_miss=True)
    shows = bus.feed("c", must_not_miss=False)
    bus.put(an_arrival(some_tries(), on_stored=lambda: confirmed.append(1)))
    one.done(one.take(0.0))
    shows.done(shows.take(0.0))
    assert confirmed == []
    other.done(other.take(0.0))
    assert confirmed == [1]


def test_without_a_sink_that_stores_it_is_confirmed_at_once(bus: Bus) -> None:
    confirmed: list[int] = []
    bus.feed("shows", must_not_miss=False)
    assert bus.put(an_arrival(some_tries(), on_stored=lambda: confirmed.append(1)))
    assert confirmed == [1]


def test_what_must_not_be_lost_is_refused_when_there_is_no_room_and_told_of_later_room(bus: Bus) -> None:
    feed = bus.feed("sql", must_not_miss=True, most_parts=10)
    assert bus.put(an_arrival(some_tries(count=10), number=1))
    assert not bus.put(an_arrival(some_tries(), number=2))
    assert not bus.wait_for_room(0.0)
    feed.done(feed.take(0.0))
    assert bus.wait_for_room(0.0)
    assert bus.put(an_arrival(some_tries(), number=2))
    assert bus.counts()["interchange"].doubled == 0, "a refused one was never there"


def test_samples_are_dropped_and_counted_when_there_is_no_room(bus: Bus) -> None:
    feed = bus.feed("sql", must_not_miss=True, most_parts=1)
    assert bus.put(an_arrival(some_tries(), number=1))
    assert bus.put(an_arrival(a_sample(), number=2))
    assert feed.dropped == {"Resources": 1}


def test_a_slow_sink_that_only_shows_misses_messages_and_holds_up_nobody(bus: Bus) -> None:
    fast, slow = bus.feed("fast", must_not_miss=True), bus.feed("slow", must_not_miss=False, most_parts=2)
    for number in range(1, 6):
        assert bus.put(an_arrival(some_tries(), number=number))
    assert len(fast.take(0.0)) == 5
    assert len(slow.take(0.0)) == 2
    assert slow.dropped == {"Tries": 3}


def test_what_comes_twice_is_counted_and_shown_once_but_stored_again(bus: Bus) -> None:
    stores, shows = bus.feed("sql", must_not_miss=True), bus.feed("live", must_not_miss=False)
    confirmed: list[int] = []
    for _ in range(2):
        bus.put(an_arrival(some_tries(), on_stored=lambda: confirmed.append(1)))
    assert bus.counts()["interchange"].doubled == 1
    assert len(shows.take(0.0)) == 1
    stores.done(stores.take(0.0))
    assert confirmed == [1, 1], "whoever sent it again waits for a word again"


def test_a_batch_is_bounded_and_holds_one_message_at_least(bus: Bus) -> None:
    feed = bus.feed("sql", must_not_miss=True)
    for number in (1, 2, 3):
        bus.put(an_arrival(some_tries(count=10), number=number))
    assert len(feed.take(0.0, most_parts=5)) == 1
    assert len(feed.take(0.0, most_parts=20)) == 2


def test_a_sink_that_goes_is_not_waited_for(bus: Bus) -> None:
    confirmed: list[int] = []
    feed = bus.feed("sql", must_not_miss=True)
    bus.put(an_arrival(some_tries(), on_stored=lambda: confirmed.append(1)))
    bus.remove(feed)
    assert confirmed == [1]
    assert bus.put(an_arrival(some_tries(), number=2))


def test_refusals_are_counted_by_reason(bus: Bus) -> None:
    bus.refuse("udp", "forged")
    bus.refuse("udp", "forged")
    assert bus.counts()["udp"].refused == {"forged": 2}


def test_a_batch_waits_after_the_last_one_but_not_when_there_is_enough_or_it_is_the_end(bus: Bus) -> None:
    feed = bus.feed("sql", must_not_miss=True, limits=Limits(least=3600.0, most=3600.0))
    bus.put(an_arrival(some_tries(), number=1))
    assert len(feed.take(0.0)) == 1, "what comes alone is taken at once"
    bus.put(an_arrival(some_tries(), number=2))
    bus.put(an_arrival(some_tries(count=10_000), number=3))
    assert len(feed.take(0.0)) == 2
    bus.put(an_arrival(some_tries(), number=4))
    feed.close()
    assert len(feed.take(0.0)) == 1


def test_a_crowd_is_one_of_rows_however_few_messages_hold_them(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    went: list[int] = []
    monkeypatch.setattr("blockyard.pace.Pace.went", lambda _, messages: went.append(messages))
    feed = bus.feed("sql", must_not_miss=True, limits=Limits(crowd=10))
    bus.put(an_arrival(some_tries(count=9), number=1))
    bus.put(an_arrival(some_tries(count=3), number=2))
    feed.take(0.0)
    assert went == [12]


def test_what_a_sender_that_keeps_its_messages_sent_to_a_hub_before_this_one_is_not_lost(bus: Bus) -> None:
    bus.put(an_arrival(some_tries(), number=17, source="kept", on_stored=lambda: None))
    bus.put(an_arrival(some_tries(), number=19, source="kept", on_stored=lambda: None))
    assert bus.counts()["interchange"].lost == 1, "18 is missing"
    bus.put(an_arrival(some_tries(), number=3, source="not kept", radio="udp"))
    assert bus.counts()["udp"].lost == 2
