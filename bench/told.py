"""What an interchange and its managers tell a hub, encoded beforehand, and the sockets by which it travels.

For `bench_hub`: many workers in managers of `WORKERS_OF_MANAGER`; in each second of theirs every worker ends `TASKS`
tasks, and a look is had at every one. The hub is told as by the real ones: tries in notes of the interchange, what they
used and the looks by radio `zmq`, a connection a manager. Leaves to `bench_hub` what is measured.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from blockyard.keyring import KeyRing
from blockyard.radios import ZmqRadio
from blockyard.transport import Context, Dealer, Gate, KeyPair, Poller, Router
from blockyard.wire import codec, hub
from blockyard.wire import monitoring as said

WORKERS_OF_MANAGER = 50
TASKS = 2
"""That a worker ends in each second: with what each used, and one look, `2 * TASKS + 1` messages."""
_BEGAN_US = 1_795_000_000_000_000
_SECOND_US = 1_000_000
_NOTES_UNDER_WAY = 1000
_PACKETS_UNDER_WAY = 4
"""Of one manager. Together less than the hub has room for: it would drop looks."""
_HUBS = "hub"
_numbers = msgspec.msgpack.Decoder(list[int])


@dataclass(slots=True)
class Manager:
    """One of the crowd: its link, what it has to send, and how far that has come."""

    link: Dealer
    packets: list[bytes]
    sent: int = 0
    confirmed: set[int] = field(default_factory=set)


def notes(managers: int, seconds: int) -> Iterator[bytes]:
    """The interchange's frames, in order: a submission for each manager, and each second a note of its tries."""
    number = 0
    for second in range(seconds + 1):
        for place in range(managers):
            number += 1
            first: list[said.AnyRecord] = [_node(place), _submission(place, seconds)]
            told = _packet("interchange:bench", number, second, [_tries(place, second - 1)] if second else first)
            yield codec.encode(hub.Notes(number, [hub.Told(told)]))


def packets(place: int, seconds: int) -> list[bytes]:
    """A manager's packets: each second what tries used, by worker, and one of a look at all of them."""
    made: list[bytes] = []
    for second in range(seconds):
        uses: list[said.AnyRecord] = [_uses(place, worker, second) for worker in range(WORKERS_OF_MANAGER)]
        for records in (uses, [_look(place, second)]):
            made.append(_packet(f"manager:{place}", len(made) + 1, second + 1, list(records)))
    return made


def messages(managers: int, seconds: int) -> tuple[int, int, int]:
    """How many rows of `tries`, `worker_tasks` and `samples` all of it becomes."""
    workers = managers * WORKERS_OF_MANAGER * seconds
    return workers * TASKS, workers * TASKS, workers


class Teller:
    """What an interchange does with its notes: who asks for them gets all that is not confirmed, in order.

    A hub has more than one connection, and only one of them says `Follow`.
    """

    def __init__(self, frames: list[bytes]) -> None:
        """`frames`: the notes, encoded, with numbers from 1."""
        self._frames = frames
        self._sent = 0
        self.confirmed = 0
        self.peer = b""
        """Who follows; empty: nobody yet."""

    def hear(self, peer: bytes, message: hub.FromHub) -> hub.ToHub | None:
        """A message of the hub, by its connection; returns what is to be answered."""
        match message:
            case hub.Follow():
                self.peer, self._sent = peer, self.confirmed
            case hub.Confirm() if peer != self.peer:
                return hub.WhoAreYou()  # what it said first came before there was a connection
            case hub.Confirm(number):
                self.confirmed = max(self.confirmed, number)
        return None

    def tell(self, send: Callable[[bytes, bytes], bool]) -> None:
        """Send what may be under way, by connection and frame, as far as `send` takes it."""
        while self._sent < min(len(self._frames), self.confirmed + _NOTES_UNDER_WAY):
            if not send(self.peer, self._frames[self._sent]):
                break
            self._sent += 1

    @property
    def is_done(self) -> bool:
        """All are stored."""
        return self.confirmed == len(self._frames)

    def __str__(self) -> str:
        return f"{self.confirmed} of {len(self._frames)} notes confirmed, {self._sent} sent"


class Crowd:
    """Both ends of it: the socket that the hub connects to, and the links of all managers to the hub's radio."""

    def __init__(self, folder: Path, managers: int, seconds: int) -> None:
        """Listens; the managers connect with `join`."""
        ring = KeyRing(folder / "keys")
        self._context = Context(max_sockets=4 * managers + 20)
        self._gate = Gate(self._context)
        self._gate.allow(_HUBS, {ring.issue("hub-default").public: "hub:default"})
        self._router = Router(
            self._context, f"ipc://{folder}/hub.sock", keys=ring.interchange("hubs"), domain=_HUBS
        )  # fmt: skip
        self._notes = Teller(list(notes(managers, seconds)))
        self._packets = [packets(place, seconds) for place in range(managers)]
        self._managers: dict[object, Manager] = {}
        self._poller = Poller()
        for readable in (self._gate, self._router):
            self._poller.register(readable)

    def join(self, radio: ZmqRadio) -> None:
        """Connect all managers."""
        keys = KeyPair(radio.sender_public.encode(), radio.sender_secret.encode())
        for own in self._packets:
            link = Dealer(self._context, radio.address, server_key=radio.server_public.encode(), keys=keys)
            self._poller.register(link)
            self._managers[link] = Manager(link, own)

    def close(self) -> None:
        """Let go of all sockets."""
        self._context.close()

    def wait_for_hub(self, deadline: float) -> None:
        """Until it follows."""
        while not self._notes.peer:
            self._turn(deadline, is_telling=False)

    def tell(self, deadline: float) -> None:
        """Send everything, as fast as the hub confirms it; returns when all of it is stored."""
        while not self._notes.is_done or any(len(one.confirmed) < len(one.packets) for one in self._managers.values()):
            self._turn(deadline, is_telling=True)

    def _turn(self, deadline: float, *, is_telling: bool) -> None:
        if time.monotonic() > deadline:
            stored = sum(len(one.confirmed) for one in self._managers.values())
            raise AssertionError(f"not in time: {self._notes}, {stored} packets of managers confirmed")
        if is_telling:
            self._notes.tell(self._router.send)
            for one in self._managers.values():
                _send(one)
        for ready in self._poller.poll(0.02):
            if ready is self._gate:
                self._gate.answer()
            elif ready is self._router:
                self._hear_hub()
            else:
                for frame in self._managers[ready].link.receive_all(64):
                    self._managers[ready].confirmed.update(_numbers.decode(frame))

    def _hear_hub(self) -> None:
        for peer, _, frame in self._router.receive_all(64):
            answer = self._notes.hear(peer, codec.from_hub.decode(frame))
            if answer is not None:
                self._router.send(peer, codec.encode(answer))


def _send(one: Manager) -> None:
    while one.sent < min(len(one.packets), len(one.confirmed) + _PACKETS_UNDER_WAY):
        if not one.link.send(one.packets[one.sent]):
            return
        one.sent += 1


def _packet(source: str, number: int, second: int, records: list[said.AnyRecord]) -> bytes:
    return codec.encode(said.AnyPacket(said.VERSION, source, number, _at(second), records))


def _at(second: int) -> int:
    return _BEGAN_US + second * _SECOND_US


def _first(place: int) -> int:
    return (place + 1) << 32


def _task(place: int, second: int, worker: int, turn: int) -> int:
    return _first(place) + (second * WORKERS_OF_MANAGER + worker) * TASKS + turn


def _names(place: int) -> tuple[str, str, str, str]:
    return "default", f"manager-{place:05d}", f"block-{place:05d}", f"node-{place // 4:05d}"


def _node(place: int) -> said.Node:
    pool, manager, block, node = _names(place)
    return said.Node(manager, pool, block, node, _at(0), "joined", workers=WORKERS_OF_MANAGER)


def _submission(place: int, seconds: int) -> said.Tasks:
    count = seconds * WORKERS_OF_MANAGER * TASKS
    return said.Tasks(_first(place), count, place + 1, "bench", "default", "bench.noop", b"\1" * 16, _at(0))


def _tries(place: int, second: int) -> said.Tries:
    tries = [
        said.Try(
            _task(place, second, worker, turn), 1 << 20, said.TryState.DONE, True, _at(0), _at(second) + worker, 400_000
        )
        for worker in range(WORKERS_OF_MANAGER)
        for turn in range(TASKS)
    ]
    return said.Tries(_first(place), *_names(place), _at(second + 1), tries)


def _uses(place: int, worker: int, second: int) -> said.WorkerTasks:
    uses = [
        said.Use(
            _task(place, second, worker, turn), 1 << 20, _at(second) + 1_000, _at(second) + 401_000, 390_000, 2_000,
            48 << 20, 4_096, 0, 2, 11, 120,
        )
        for turn in range(TASKS)
    ]  # fmt: skip
    return said.WorkerTasks(*_names(place), worker, 10_000 + worker, "", uses)


def _look(place: int, second: int) -> said.Resources:
    samples = [
        said.Sample(
            _task(place, second, worker, 0), 1 << 20, worker, 10_000 + worker, _at(second) + 200_000, 190_000, 1_000,
            47 << 20, 48 << 20, 300 << 20, 4_096, 0, 1, 0, 1, 5, worker % 2, "R", 0,
        )
        for worker in range(WORKERS_OF_MANAGER)
    ]  # fmt: skip
    return said.Resources(*_names(place), _SECOND_US, samples)
