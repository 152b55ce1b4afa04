"""What a task says has happened: bounded, told apart, and refused where it cannot be told. No worker is there."""

import pytest

import blockyard
from blockyard import saying, this_try
from blockyard.errors import NotSendable
from blockyard.saying import MOST_OF_TRY
from blockyard.this_try import Way
from blockyard.wire.monitoring import Event, FromWorker
from blockyard.wire.records import Lease


class Around:
    """A worker that keeps what it is to tell."""

    def __init__(self) -> None:
        self.now = Lease(1 << 32, 1)
        self.told: list[Event] = []

    def lease(self) -> Lease:
        return self.now

    def part(self) -> None:
        return None

    def tell(self, *records: FromWorker, way: Way = Way.KEPT) -> bool:
        assert way is Way.PASSING, "it may be missed, and must not take room from what may not"
        self.told += [record for record in records if isinstance(record, Event)]
        return True


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Around:
    made = Around()
    monkeypatch.setattr(this_try, "around", made)
    return made


def test_on_threads_each_try_has_a_count_of_its_own(around: Around) -> None:
    for _ in range(MOST_OF_TRY):
        for task in (101, 102):
            around.now = Lease(task << 32, 1)
            assert blockyard.event("step")
    assert not blockyard.event("step")
    assert len(around.told) == 2 * MOST_OF_TRY


class Client:
    """A client that keeps what it is to tell, if it can tell it."""

    def __init__(self, *, may: bool = True) -> None:
        self.may = may
        self.said: list[tuple[str, str]] = []

    def say(self, at_us: int, name: str, text: str) -> bool:
        if self.may:
            self.said.append((name, text))
        return self.may


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client of other tests is open."""
    monkeypatch.setattr(saying, "_speakers", [])


def test_outside_of_a_task_and_without_a_client_nobody_is_told() -> None:
    assert not blockyard.event("begun")


def test_a_program_speaks_by_the_last_client_that_can_tell_it(around: Around) -> None:
    clients = [Client(), Client(), Client(may=False)]
    for client in clients:
        saying.speak_by(client)
    around.now = Lease(0, 0)
    assert blockyard.event("begun", loss=0.5)
    assert [client.said for client in clients] == [[], [("begun", '{"loss":0.5}')], []]
    del client, clients[1]
    assert blockyard.event("gone")
    assert clients[0].said == [("gone", "")]
    around.now = Lease(1 << 32, 1)
    assert blockyard.event("within")
    assert (clients[0].said, around.told[-1].kind) == ([("gone", "")], "within")


def test_each_event_has_an_instant_of_its_own(around: Around) -> None:
    assert all(blockyard.event("begun", loss=0.5) for _ in range(100))
    assert len({one.at_us for one in around.told}) == 100
    assert {(one.kind, one.subject, one.text) for one in around.told} == {("begun", "1-0", '{"loss":0.5}')}


def test_a_try_says_so_much_and_the_next_one_again(around: Around) -> None:
    around.now = Lease(2 << 32, 1)
    assert [blockyard.event("step") for _ in range(MOST_OF_TRY + 5)].count(True) == MOST_OF_TRY
    around.now = Lease(2 << 32, 2)
    assert blockyard.event("step")


def test_between_tasks_nobody_is_told(around: Around) -> None:
    around.now = Lease(0, 0)
    assert not blockyard.event("begun")


@pytest.mark.parametrize(
    "name, data, sentence",
    [
        ("", {}, "from 1 to 256"),
        ("x" * 257, {}, "from 1 to 256"),
        ("begun", {"thing": object()}, "field 'thing'"),
        ("begun", {"text": "x" * 5000}, "at most 4096"),
    ],
)
def test_what_cannot_be_told_is_refused_by_name(name: str, data: dict[str, object], sentence: str) -> None:
    with pytest.raises(NotSendable, match=sentence):
        blockyard.event(name, **data)
