"""How soon is a message that comes alone seen: in the database, and by who follows, over ZeroMQ and over HTTP?

Of two kinds: what a program says by `blockyard.event`, and how a task ended. The clock begins with the time that the
message itself bears: the moment of the call, and the moment at which the interchange heard of the end. It stops where
the message is seen: when a follower has it as a dictionary, when a question to PostgreSQL, asked again every
millisecond or two, finds its row.
"""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psycopg

import blockyard
from bench import engines, harness
from blockyard import Client
from blockyard.events import Where, follow_http
from blockyard.monitoring import Monitoring
from blockyard.state_folder import STREAM_SOCKET
from tests.fixtures.postgres import Postgres, running_postgres

MESSAGES, SMALL = 100, 20
"""Of each kind."""
ALONE_SECONDS = (0.23, 0.31, 0.47)
"""From the sight of one message to the next, in turn, so that none falls into step with anybody's rhythm."""
LOOK_SECONDS = 0.001
PATIENCE_SECONDS = 60.0
DATABASE_MS, STREAM_MS = 200.0, 20.0
ZMQ, HTTP = "zmq", "http"
EVENT, TASK = "event", "task"
RECORDS = ["Event", "Tries"]
"""Of these kinds; both bear their time as `at_us`."""


class Sight(NamedTuple):
    """A follower's: by which door, the time that the message bears, and when it was seen, both in seconds UTC."""

    door: str
    told_at: float
    seen_at: float


class Followers:
    """One by each door, on a thread of their own; `sights` has what they see."""

    def __init__(self, client: Client) -> None:
        assert client.folder is not None, "a local system has a folder"
        self.sights: queue.SimpleQueue[Sight] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._streams = {
            ZMQ: client.events(kinds=RECORDS),
            HTTP: follow_http(Where(client.folder / STREAM_SOCKET), kinds=RECORDS),
        }

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as group:
            for door, stream in self._streams.items():
                group.create_task(self._look(door, stream))

    async def _look(self, door: str, stream: AsyncIterator[dict[str, Any]]) -> None:
        async for event in stream:
            self.sights.put(Sight(door, event["at_us"] / 1e6, time.time()))

    @contextmanager
    def running(self) -> Iterator[None]:
        """For the time of the block."""
        following = self._loop.create_task(self._follow())
        thread = threading.Thread(target=self._run, args=(following,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(following.cancel)
            thread.join(PATIENCE_SECONDS)

    def _run(self, following: "asyncio.Task[None]") -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(following)


class Kind(NamedTuple):
    """A kind of message."""

    tell: Callable[[Client], object]
    question: str
    """To the database: how many there are."""


KINDS = {
    EVENT: Kind(lambda _: blockyard.event("seen", by="bench"), "SELECT count(*) FROM events"),
    TASK: Kind(
        lambda client: client.submit(engines.noop).result(), "SELECT count(*) FROM tries WHERE is_last = 1"
    ),
}  # fmt: skip


def count(connection: "psycopg.Connection[Any]", kind: Kind) -> int:
    return int((connection.execute(kind.question).fetchone() or (0,))[0])


def one(client: Client, kind: Kind, followers: Followers, connection: "psycopg.Connection[Any]") -> dict[str, float]:
    """Milliseconds until one message is seen: `zmq`, `http`, `database`."""
    before = count(connection, kind)
    kind.tell(client)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while count(connection, kind) == before:
        if time.monotonic() > deadline:
            raise AssertionError(f"the database does not show it: {kind.question} says {before} still")
        time.sleep(LOOK_SECONDS)
    stored_at = time.time()
    sights = [followers.sights.get(timeout=PATIENCE_SECONDS) for _ in (ZMQ, HTTP)]
    if {sight.door for sight in sights} != {ZMQ, HTTP} or len({sight.told_at for sight in sights}) != 1:
        raise AssertionError(f"each door was to show the same message once; seen was {sights}")
    found = {sight.door: (sight.seen_at - sight.told_at) * 1e3 for sight in sights}
    return {**found, "database": (stored_at - sights[0].told_at) * 1e3}


def warmed(client: Client, followers: Followers, connection: "psycopg.Connection[Any]") -> None:
    """Until the tables are there, and both followers see what happens."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    doors: set[str] = set()
    while len(doors) < 2:
        if time.monotonic() > deadline:
            raise AssertionError(f"of the doors {ZMQ} and {HTTP} only these show anything: {sorted(doors)}")
        client.submit(engines.noop).result()
        time.sleep(0.2)
        while not followers.sights.empty():
            doors.add(followers.sights.get().door)
    while connection.execute("SELECT to_regclass('leaving') IS NOT NULL").fetchone() != (True,):
        time.sleep(0.05)
    time.sleep(1.0)  # what was told for warming is in the database, and seen
    while not followers.sights.empty():
        followers.sights.get()


def measured(server: Postgres, messages: int) -> harness.Figures:
    """For each kind and place, the middle and the 99th of a hundred: `event_zmq_p50_ms`, …"""
    server.run("DROP DATABASE IF EXISTS history")
    server.run("CREATE DATABASE history")
    url = server.url.rpartition("/")[0] + "/history"
    figures: dict[str, float] = {}
    with (
        engines.blockyard(monitoring=Monitoring(database=url)) as client,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        followers = Followers(client)
        with followers.running():
            warmed(client, followers, connection)
            for name, kind in KINDS.items():
                seen = []
                for number in range(messages):
                    time.sleep(ALONE_SECONDS[number % len(ALONE_SECONDS)])
                    seen.append(one(client, kind, followers, connection))
                for place in (ZMQ, HTTP, "database"):
                    taken = [sight[place] for sight in seen]
                    figures[f"{name}_{place}_p50_ms"] = harness.quantile(taken, 0.5)
                    figures[f"{name}_{place}_p99_ms"] = harness.quantile(taken, 0.99)
    return figures


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    given = harness.arguments(question)
    messages = SMALL if given.small else MESSAGES
    goals = [
        harness.Goal(f"{kind}_{place}_p99_ms", None, required=most, aim=most / 2, at_least=False)
        for kind in KINDS
        for place, most in ((ZMQ, STREAM_MS), (HTTP, STREAM_MS), ("database", DATABASE_MS))
    ]
    with running_postgres() as server:
        subject = harness.Subject(engines.BLOCKYARD, lambda: measured(server, messages))
        harness.run("sight", question, [subject], goals, given)


if __name__ == "__main__":
    main()
