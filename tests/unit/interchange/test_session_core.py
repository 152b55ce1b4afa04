"""A client's side of the talk: what it says again, what it believes, and when it gives up."""

import msgspec

from blockyard.session.core import Answers, SessionCore, Standing
from blockyard.wire import client as wire
from blockyard.wire import codec
from blockyard.wire.records import PROTOCOL_VERSION, Group
from tests.unit.interchange.builders import PYTHON, a_spec

WELCOME = wire.Welcome(PROTOCOL_VERSION, "run", True, [], 1.0, 100, 100)


def a_core(*, take_over: bool = False) -> SessionCore:
    return SessionCore(wire.Hello(PROTOCOL_VERSION, 7, b"t" * 16, "run", PYTHON, take_over=take_over))


def hear(core: SessionCore, *messages: wire.ToClient, now: float = 0.0) -> tuple[list[wire.FromClient], Answers]:
    answers = Answers()
    frames = core.receive([codec.encode(message) for message in messages], answers, now)
    return [codec.from_client.decode(frame) for frame in frames], answers


def an_open_core(*, take_over: bool = False) -> SessionCore:
    core = a_core(take_over=take_over)
    core.hello(b"", 0.0)
    hear(core, WELCOME)
    return core


def submit(core: SessionCore, first: int) -> None:
    core.submit([Group(a_spec(), first, [b""])], range(first, first + 1))


def test_what_was_not_accepted_is_said_again_in_order() -> None:
    core = an_open_core()
    for number in range(3):
        submit(core, number)
    hear(core, wire.Accepted(1))
    said, _ = hear(core, WELCOME, msgspec.structs.replace(WELCOME, accepted=1))
    assert [message.number for message in said if isinstance(message, wire.Submit)][-2:] == [2, 3]
    assert core.unaccepted == 2


def test_a_refusal_ends_its_tasks_once_and_never_a_question_of_the_same_number() -> None:
    core = an_open_core()
    submit(core, 0)
    core.ask(1, msgspec.Raw(b"\xc0"), watch=False)
    refused = wire.Refused(1, "pool", "no such pool")
    _, answers = hear(core, refused)
    assert answers.refused == [([0], refused)]
    _, answers = hear(core, refused)
    assert answers.refused == []
    assert answers.refused_questions == []


def test_one_greeting_answers_all_who_are_you() -> None:
    core = an_open_core()
    hear(core, wire.WhoAreYou(), now=1.0)
    assert len(core.on_time(bytes, 1.0)) == 1
    hear(core, *[wire.WhoAreYou()] * 50, now=1.01)
    assert core.on_time(bytes, 1.02) == []


def test_greetings_become_rarer_while_nobody_answers() -> None:
    core = a_core()
    core.hello(b"", 0.0)
    said = sum(len(core.on_time(bytes, tick / 100)) for tick in range(1000))
    assert 4 <= said <= 9


def test_a_client_that_was_given_up_says_so_instead_of_waiting_for_ever() -> None:
    core = an_open_core()
    submit(core, 0)
    hear(core, wire.Accepted(1))
    core.hello(b"", 100.0)
    hear(core, WELCOME, now=100.1)
    assert core.standing is Standing.REFUSED
    assert core.refusal is not None
    assert "connect anew" in core.refusal.message


def test_a_run_is_taken_over_once_and_not_again_by_a_reconnect() -> None:
    core = an_open_core(take_over=True)
    again = codec.from_client.decode(core.hello(b"", 5.0))
    assert isinstance(again, wire.Hello)
    assert not again.take_over


def test_an_owner_that_lost_its_run_while_it_was_away_is_told() -> None:
    core = an_open_core()
    core.hello(b"", 5.0)
    _, answers = hear(core, msgspec.structs.replace(WELCOME, owner=False))
    assert "another owner" in answers.taken_over
