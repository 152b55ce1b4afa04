"""A process of many managers that do nothing but belong: each has its own CURVE connection, joins and sends heartbeats.

Started by `bench_managers`, one process for a few thousand of them. Prints a line when all have joined; ends when its
standard input closes. To the interchange they are managers like any other; there are no workers behind them.
"""

import heapq
import select
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blockyard.keyring import KeyRing
from blockyard.transport import Context, Dealer, Poller
from blockyard.wire import codec
from blockyard.wire.manager import Beat, Heartbeat, Join, Joined, NotJoined, Refused
from blockyard.wire.records import PROTOCOL_VERSION

JOIN_TIMEOUT = 300.0
AT_A_TIME = 100
"""Handshakes under way; more of them would only wait at the interchange until they time out."""
LOOK_SECONDS = 0.05
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(slots=True)
class Idle:
    """One of them; `heartbeat` is what the interchange asks for, 0 until it has answered."""

    name: str
    link: Dealer
    heartbeat: float = 0.0
    due: float = 0.0


class Crowd:
    """All managers of this process: their links, and what each is to send when."""

    def __init__(self, folder: Path, pool: str, names: list[str]) -> None:
        ring = KeyRing(folder / "keys")
        self.context = Context(max_sockets=4 * len(names) + 10)  # each link watches itself, too
        self.endpoint = f"ipc://{folder}/managers.sock"
        self.server_key = ring.interchange("managers").public
        self.keys = ring.pool(pool)
        self.pool = pool
        self.waiting = deque(names)
        self.joining = 0
        self.members: dict[object, Idle] = {}
        self.poller = Poller()
        self.beat = codec.encode(Heartbeat(busy=0, idle=1, queued=0))

    @property
    def complete(self) -> bool:
        return not self.waiting and self.joining == 0

    def turn(self, now: float) -> None:
        """On the way in: connect a few more, read what came, send what is due."""
        while self.waiting and self.joining < AT_A_TIME:
            self.connect(self.waiting.popleft(), now)
        for link in self.poller.poll(LOOK_SECONDS):
            self.read(self.members[link], now)
        for member in self.members.values():
            if member.due <= now:
                self.speak(member, now)

    def beat_until(self, is_over: Callable[[], bool]) -> None:
        """Send the heartbeats that are due, and of each manager read only then what its last one brought.

        A poller would look at thousands of sockets each time, and what that costs is taken from those who are measured.
        """
        due = [(member.due, number, member) for number, member in enumerate(self.members.values())]
        heapq.heapify(due)
        while not is_over():
            now = time.monotonic()
            while due[0][0] <= now:
                _, number, member = due[0]
                self.read(member, now)
                self.speak(member, now)
                heapq.heapreplace(due, (member.due, number, member))

    def connect(self, name: str, now: float) -> None:
        link = Dealer(self.context, self.endpoint, server_key=self.server_key, keys=self.keys)
        self.poller.register(link)
        self.members[link] = Idle(name, link, due=now)
        self.joining += 1

    def speak(self, member: Idle, now: float) -> None:
        if member.heartbeat:
            member.link.send(self.beat)
            member.due = now + member.heartbeat
        else:
            sent = member.link.send(codec.encode(self.join_of(member.name)))
            member.due = now + (2.0 if sent else LOOK_SECONDS)  # not sent: the handshake is still under way

    def read(self, member: Idle, now: float) -> None:
        while (frame := member.link.receive()) is not None:
            match codec.to_manager.decode(frame):
                case Joined(heartbeat=seconds):
                    self.joining -= not member.heartbeat
                    member.heartbeat = seconds
                    member.due = now + seconds
                case Beat(heartbeat=seconds) if seconds:
                    member.heartbeat = seconds
                case NotJoined():
                    self.joining += bool(member.heartbeat)
                    member.heartbeat, member.due = 0.0, now
                case Refused(kind, message):
                    raise SystemExit(f"{member.name} was refused ({kind}): {message}")

    def join_of(self, name: str) -> Join:
        return Join(
            version=PROTOCOL_VERSION,
            manager=name,
            pool=self.pool,
            block=f"block-{name}",
            node="bench",
            python=PYTHON,
            workers=1,
            cores=1.0,
            memory_bytes=0,
            accelerators=0,
        )


def main(folder: str, pool: str, first: str, count: str) -> None:
    crowd = Crowd(Path(folder), pool, [f"idle-{number}" for number in range(int(first), int(first) + int(count))])
    deadline = time.monotonic() + JOIN_TIMEOUT
    while not crowd.complete:
        crowd.turn(time.monotonic())
        if time.monotonic() > deadline:
            raise SystemExit(f"{len(crowd.waiting) + crowd.joining} of {count} managers had not joined in time")
    print("joined", flush=True)
    crowd.beat_until(lambda: bool(select.select([sys.stdin], [], [], LOOK_SECONDS)[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
