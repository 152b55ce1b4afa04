"""What clients follow passes through: to the hub that shows, with what each client may see, and back to who asked."""

import msgspec
import pytest

from blockyard.wire import client as wire
from blockyard.wire import control
from blockyard.wire import hub as hub_wire
from blockyard.wire.monitoring import VERSION
from blockyard_interchange.core import keeping
from blockyard_interchange.core.settings import PoolSettings
from tests.unit.interchange.builders import Bench, Client, Hub

ANSWER = control.EventsAre([control.EventLine("1-1", "Event", b"{}")], "1-1")
QUESTION = control.Follow(kinds=["Event"], after="1-0")


@pytest.fixture
def bench() -> Bench:
    return Bench(monitoring=True, pools={"a": PoolSettings(), "b": PoolSettings()})


def showing(bench: Bench, name: bytes = b"hub-stream") -> Hub:
    """A connection of a hub that shows."""
    one = Hub(bench, name)
    bench.peers[name] = one
    one.say(hub_wire.Offer(VERSION))
    return one


def ask(client: Client, question: control.Follow = QUESTION, number: int = 77) -> None:
    """Ask without waiting for the answer."""
    client.say(wire.Ask(number, msgspec.Raw(msgspec.msgpack.encode(question))))
    client.bench.turn()


def answer(hub: Hub, show: hub_wire.Show) -> None:
    """Answer a question."""
    hub.say(hub_wire.Shown(show.number, msgspec.Raw(msgspec.msgpack.encode(ANSWER))))
    hub.bench.turn()


def answers(client: Client) -> list[object]:
    """What it was answered."""
    return [msgspec.msgpack.decode(one.answer, type=control.Answer) for one in client.heard(wire.Reply)]


def test_a_question_goes_to_the_hub_and_its_answer_back(bench: Bench) -> None:
    hub, client, other = showing(bench), bench.client(1), bench.client(2)
    ask(client)
    (show,) = hub.heard(hub_wire.Show)
    assert (show.question, show.user, show.pools) == (QUESTION, client.user, None)
    answer(hub, show)
    assert (answers(client), answers(other)) == ([ANSWER], [])
    answer(hub, show)
    assert answers(client) == [], "it was answered"
    assert bench.state.asked.shows == {}


def test_the_hub_is_told_what_a_client_may_see(bench: Bench) -> None:
    keeping.on_ring(bench.state, {"client:anna": frozenset({"a"})})
    hub, anna = showing(bench), bench.client(1, user="client:anna")
    ask(anna)
    (show,) = hub.heard(hub_wire.Show)
    assert (show.user, show.pools) == ("client:anna", ["a"])
    refused = anna.is_refused(control.Follow(pools=["b"]))
    assert "pool 'b' is not one that this key may use; these are: a" in refused.message
    assert hub.heard(hub_wire.Show) == []


def test_another_hub_is_asked_what_is_open(bench: Bench) -> None:
    hub, client = showing(bench), bench.client(1)
    ask(client)
    (show,) = hub.heard(hub_wire.Show)
    after = showing(bench, b"another")
    bench.turn()
    assert after.heard(hub_wire.Show) == [show]
    after.say(hub_wire.Offer(VERSION))
    bench.turn()
    assert after.heard(hub_wire.Show) == [], "a sign of life is no new connection"


def test_without_a_hub_that_shows_the_answer_is_that_there_is_none(bench: Bench) -> None:
    client = bench.client(1)
    assert "no hub" in client.ask(QUESTION, control.Unknown).message
    showing(bench)
    for _ in range(6):
        client.say(wire.Ping())
        bench.turn(1.0)
    assert "no hub" in client.ask(QUESTION, control.Unknown).message, "it has been silent for long"


def test_without_monitoring_it_is_refused() -> None:
    refused = Bench().client(1).is_refused(QUESTION)
    assert (refused.kind, "monitoring is off" in refused.message) == ("monitoring", True)


def test_a_client_that_is_gone_or_back_leaves_no_question_behind(bench: Bench) -> None:
    showing(bench)
    client = bench.client(1)
    ask(client)
    assert len(bench.state.asked.shows) == 1
    client.say(client.hello)
    assert bench.state.asked.shows == {}
    ask(client)
    client.say(wire.Bye(cancel=False))
    assert bench.state.asked.shows == {}


def test_too_many_open_questions_are_refused(bench: Bench) -> None:
    showing(bench)
    client = bench.client(1)
    for number in range(64):
        ask(client, number=1000 + number)
    assert "64 questions" in client.is_refused(QUESTION).message
    assert len(bench.state.asked.shows) == 64


def test_a_hub_of_another_version_is_refused(bench: Bench) -> None:
    hub = Hub(bench, b"old")
    bench.peers[b"old"] = hub
    hub.say(hub_wire.Offer(VERSION + 1))
    bench.turn()
    assert "version" in hub.heard(hub_wire.Refused)[0].message
    assert not bench.state.asked.hub_peer
