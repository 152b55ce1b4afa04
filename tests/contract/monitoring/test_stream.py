"""The live stream by both of its doors: HTTP of the sink, and ZeroMQ through an interchange, which is a real process.

Out of scope: what of a running system comes there (`tests/integration/monitoring`), the interchange's part in its
core (`tests/unit/interchange/test_showing`).
"""

import asyncio
import contextlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from blockyard import connect
from blockyard.errors import BlockyardError, BrokenBlockyard, ConfigError, UnknownPool
from blockyard.events import Where, follow, follow_http
from blockyard.interchange_process import InterchangeProcess
from blockyard.keyring import KeyRing
from blockyard.radios import Arrival
from blockyard.remote import RemoteEngine, RemoteSettings
from blockyard.transport import KeyPair, read_public_key
from blockyard.wire.monitoring import AnyRecord, Run, Use, WorkerTasks
from blockyard_monitoring.link import LinkSettings
from blockyard_monitoring.sinks.stream import StreamSink
from blockyard_monitoring.stream_link import StreamLink
from blockyard_monitoring.suites import AT, arriving, one_of_each
from tests.integration.processes import WITHIN
from tests.unit.monitoring.messages import an_arrival, an_event, some_tasks, some_tries

TOKEN = "a token of this test"
KEEP = 100

Follow = Callable[..., AsyncIterator[dict[str, Any]]]


class Door(NamedTuple):
    """A sink, and how to follow it."""

    sink: StreamSink
    follow: Follow

    def tell(self, *arrivals: Arrival) -> None:
        """Show these."""
        self.sink.write(arrivals)


class Yard(NamedTuple):
    """An interchange with monitoring, and pools `a` and `b`."""

    folder: Path

    @property
    def ring(self) -> KeyRing:
        return KeyRing(self.folder / "keys")

    @contextlib.contextmanager
    def hub(self) -> Iterator[StreamSink]:
        """What of a hub shows events, with a ring of `KEEP`."""
        sink = StreamSink(keep=KEEP)
        sink.start()
        keys = self.ring.issue("hub-default")
        server = read_public_key(self.ring.path("hubs"))
        link = StreamLink(LinkSettings(f"ipc://{self.folder}/hub.sock", server, keys), sink.ring)
        link.start()
        yield sink
        sink.close()
        link.end()

    @contextlib.contextmanager
    def client(self, keys: KeyPair | None = None, patience: float = WITHIN) -> Iterator[Follow]:
        """A client, and how it follows."""
        link = connect.of_folder(self.folder).link()
        engine = RemoteEngine(RemoteSettings(link if keys is None else link._replace(keys=keys), patience=patience))
        try:
            engine.connect()
            yield lambda **asked: follow(engine.begin, **{"patience": WITHIN, **asked})
        finally:
            engine.shutdown(wait=True, cancel_futures=True)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """The interchange's process."""
    folder = tmp_path_factory.mktemp("yard")
    yard = Yard(folder)
    yard.ring.client()
    core = {"monitoring": True, "pools": {"a": {}, "b": {}}}
    settings = folder / "interchange.json"
    settings.write_bytes(msgspec.json.encode({"folder": str(folder), "core": core}))
    process = InterchangeProcess(folder)
    process.start()
    process.begin()
    try:
        while not (folder / "hub.sock").exists():
            assert process.is_alive(), process.log.read_text()
            process.join(0.02)
        yield yard
    finally:
        process.stop(0.0)  # nobody is there to whom it could tell its history


@contextlib.contextmanager
def http(folder: Path) -> Iterator[Door]:
    """The door of the sink itself."""
    sink = StreamSink(path=str(folder / "s.sock"), keep=KEEP)
    sink.start()
    yield Door(sink, lambda **asked: follow_http(Where(folder / "s.sock"), **asked))
    sink.close()


@pytest.fixture(params=["http", "zmq"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    """Each of them."""
    if request.param == "http":
        with http(tmp_path) as one:
            yield one
        return
    yard: Yard = request.getfixturevalue("yard")
    with yard.hub() as sink, yard.client() as following:
        yield Door(sink, following)


async def some(followed: AsyncIterator[dict[str, Any]], count: int, then: Any = None) -> list[dict[str, Any]]:
    """So many events; `then` is called again and again until they are there."""
    found: list[dict[str, Any]] = []

    async def collect() -> None:
        async for event in followed:
            found.append(event)
            if len(found) == count:
                return

    task = asyncio.create_task(collect())
    while then is not None and not task.done():
        await asyncio.sleep(0.05)
        then()
    await asyncio.wait_for(task, WITHIN)
    await followed.aclose()  # type: ignore[attr-defined]
    return found


def seen(followed: AsyncIterator[dict[str, Any]], count: int, then: Any = None) -> list[dict[str, Any]]:
    """The same, from outside."""
    return asyncio.run(some(followed, count, then))


def test_a_follower_sees_what_it_wants_to_see(door: Door) -> None:
    followed = door.follow(kinds=["Tries"], pools=["default"], runs=["nightly"])
    found = seen(followed, 2, lambda: door.tell(arriving(one_of_each())))
    assert {event["record"] for event in found} == {"Tries"}
    assert found[0]["tries"][1]["task"] == "7-0"


def test_every_record_has_its_fields(door: Door) -> None:
    door.tell(arriving(one_of_each()))
    _, *found = seen(door.follow(after="unknown-0"), 1 + len(one_of_each()))
    assert [event["record"] for event in found] == [type(record).__name__ for record in one_of_each()]
    assert {key for event in found for key in event} >= {"run", "tries", "samples", "message", "path", "text"}


def test_what_a_pools_key_told_is_of_that_pool(door: Door) -> None:
    told = msgspec.structs.replace(an_arrival(an_event("of a")), pool="a")
    door.tell(told, an_arrival(an_event("of nobody knows"), number=2))
    door.tell(msgspec.structs.replace(an_arrival(an_event("of b"), number=3), pool="b"))
    _, one, two = seen(door.follow(after="unknown-0", pools=["a", "b"]), 3)
    assert (one["text"], two["text"]) == ("of a", "of b")


def test_a_follower_goes_on_where_it_was(door: Door) -> None:
    door.tell(*[an_arrival(an_event(str(number)), number=number) for number in range(1, 11)])
    (first, *_) = seen(door.follow(after="unknown-0"), 3)
    assert (first["record"], first["count"]) == ("lost", None), "of another hub"
    found = seen(door.follow(after=first["id"]), 10)
    assert [event["text"] for event in found] == [str(number) for number in range(1, 11)]
    rest = seen(door.follow(after=found[5]["id"]), 4)
    assert [event["text"] for event in rest] == ["7", "8", "9", "10"]


def test_what_is_not_kept_any_more_is_told_as_lost(door: Door) -> None:
    door.tell(an_arrival(an_event("0")))
    (start, *_) = seen(door.follow(after="unknown-0"), 1)
    door.tell(*[an_arrival(an_event(str(number)), number=number) for number in range(1, 301)])
    lost, first, *_ = seen(door.follow(after=start["id"]), 101)
    assert (lost["record"], lost["count"]) == ("lost", 201)
    assert first["text"] == "201"


def test_one_that_is_slow_holds_up_nobody_and_hears_what_it_missed(door: Door) -> None:
    count = 20 * KEEP

    async def both() -> tuple[int, list[dict[str, Any]]]:
        slow, fast = door.follow(after="unknown-0"), door.follow(after="unknown-0")
        await anext(slow)
        await anext(fast)
        for first in range(0, count, KEEP // 2):
            door.tell(*[an_arrival(an_event(str(first + place)), number=first + place) for place in range(KEEP // 2)])
            events = [await anext(fast) for _ in range(KEEP // 2)]
            assert [event["record"] for event in events] == ["Event"] * (KEEP // 2)
        found = [await anext(slow)]
        while found[-1].get("text") != str(count - 1):
            found.append(await anext(slow))
        for one in (slow, fast):
            await one.aclose()  # type: ignore[attr-defined]
        return count, found

    count, found = asyncio.run(asyncio.wait_for(both(), WITHIN))
    lost = sum(event["count"] for event in found if event["record"] == "lost")
    assert lost + sum(event["record"] == "Event" for event in found) == count
    texts = [int(event["text"]) for event in found if event["record"] == "Event"]
    assert texts == sorted(texts)


def test_a_record_of_thousands_of_tries_counts_for_what_it_holds(door: Door) -> None:
    for number in range(1, 31):
        door.tell(an_arrival(some_tries(count=8000), number=number))
    stranger, lost, first = seen(door.follow(after="unknown-0"), 3)
    assert (stranger["count"], lost["count"] > 0, len(first["tries"])) == (None, True, 8000)


def test_what_one_worker_told_in_many_packets_is_shown_as_one_event(door: Door) -> None:
    told = [
        WorkerTasks("default", "m1", "b", "n", worker, 70 + worker, "", [Use(task, 1, AT, AT + 1_000)])
        for task, worker in ((1, 0), (2, 1), (3, 0), (4, 1))
    ]
    end = msgspec.structs.replace(told[0], worker=2)
    arrivals = [an_arrival(one, number=number) for number, one in enumerate([*told, end], 1)]
    arrivals[3] = msgspec.structs.replace(arrivals[3], pool="other")
    door.tell(*arrivals)
    stranger, *events = seen(door.follow(after="unknown-0"), 5)
    assert stranger["count"] is None
    found = [(one["worker"], len(one["uses"])) for one in events]
    assert found == [(0, 2), (1, 1), (1, 1), (2, 1)]
    assert [len(one.uses) for one in told] == [1, 1, 1, 1]  # they are the other sinks', too


def test_a_kind_that_there_is_not_is_refused_with_those_there_are(door: Door) -> None:
    with pytest.raises(ConfigError, match=r"kinds=tries: there are .*Tries"):
        seen(door.follow(kinds=["tries"]), 1)


def test_nobody_there_is_said_in_words(tmp_path: Path, yard: Yard) -> None:
    with pytest.raises(BrokenBlockyard, match=r"none\.sock"):
        seen(follow_http(Where(tmp_path / "none.sock"), patience=0.1), 1)
    with yard.hub(), yard.client() as following:
        seen(following(after="unknown-0"), 1)
    with yard.client() as following, pytest.raises(BrokenBlockyard, match="events: "):
        seen(following(patience=0.1), 1)


def test_a_port_wants_its_token() -> None:
    sink = StreamSink(listen="127.0.0.1:0", token=TOKEN)
    sink.start()
    with pytest.raises(BrokenBlockyard, match="token"):
        seen(follow_http(Where(host="127.0.0.1", port=sink.port)), 1)
    where = Where(host="127.0.0.1", port=sink.port, token=TOKEN)
    sink.write([an_arrival(an_event("hello"))])
    assert seen(follow_http(where, after="unknown-0"), 2)[1]["text"] == "hello"
    asked = urllib.request.Request(f"http://127.0.0.1:{sink.port}/events?kinds=tries")
    asked.add_header("Authorization", f"Bearer {TOKEN}")
    with pytest.raises(urllib.error.HTTPError, match=r"400.*kinds=tries"):
        urllib.request.urlopen(asked, timeout=WITHIN)
    sink.close()


def test_a_sink_without_a_door_of_its_own_opens_none() -> None:
    sink = StreamSink()
    sink.start()
    assert sink.port == 0
    sink.close()


# --- by ZeroMQ: who may see what, and who comes back


def test_a_key_of_some_pools_sees_these_and_what_is_its_own(yard: Yard) -> None:
    keys = yard.ring.issue("client-anna", ["a"])
    own, foreign = 5 << 32, 6 << 32
    with yard.hub() as sink, yard.client(keys) as following:
        records: list[AnyRecord] = [
            Run(5, "hers", "client:anna", began_us=AT),
            Run(6, "his", "client:bert", began_us=AT),
            msgspec.structs.replace(some_tasks(own), pool="b"),
            msgspec.structs.replace(some_tasks(foreign), pool="b"),
            msgspec.structs.replace(some_tries(own), pool="b"),
            msgspec.structs.replace(some_tries(foreign), pool="b"),
            msgspec.structs.replace(some_tries(foreign), pool="a"),
            an_event("of nobody knows which pool"),
        ]
        sink.write([an_arrival(*records)])
        for number, pool in enumerate("ab", 2):
            sink.write([msgspec.structs.replace(an_arrival(an_event(pool), number=number), pool=pool)])
        found = seen(following(after="unknown-0"), 6)[1:]
        assert [(event["record"], event.get("pool", event.get("text", event.get("run")))) for event in found] == [
            ("Run", "hers"), ("Tasks", "b"), ("Tries", "b"), ("Tries", "a"), ("Event", "a"),
        ]  # fmt: skip
        with pytest.raises(UnknownPool, match="these are: a"):
            seen(following(pools=["b"]), 1)


def test_a_stranger_is_not_let_in_and_a_revoked_key_not_heard(yard: Yard) -> None:
    with yard.hub():
        with pytest.raises(BrokenBlockyard), yard.client(KeyPair.new(), 0.5):
            pass
        keys = yard.ring.issue("client-carl")
        with yard.client(keys) as following:
            seen(following(after="unknown-0"), 1)
            yard.ring.revoke("client-carl")
            with pytest.raises(BlockyardError, match="revoked"):
                seen(following(kinds=["Run"]), 1)


def test_a_follower_outlives_its_hub(yard: Yard) -> None:
    async def across() -> list[dict[str, Any]]:
        with yard.client() as following:
            followed = following(after="unknown-0", kinds=["Event"])
            with yard.hub() as sink:
                await anext(followed)
                sink.write([an_arrival(an_event("before"))])
                found = [await anext(followed)]
                waiting = asyncio.ensure_future(anext(followed))
                await asyncio.sleep(0.05)
            with yard.hub() as sink:
                sink.write([an_arrival(an_event("after"))])
                found += [await waiting, await anext(followed)]
            await followed.aclose()  # type: ignore[attr-defined]
            return found

    found = asyncio.run(asyncio.wait_for(across(), WITHIN))
    assert [(event["record"], event.get("text")) for event in found] == [
        ("Event", "before"), ("lost", None), ("Event", "after"),
    ]  # fmt: skip
