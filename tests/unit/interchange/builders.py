"""An interchange on the bench: the real core over a real log in memory, driven by hand and checked after every event.

Every message and every journal entry is encoded and decoded on its way. Nothing is sent by itself: a test says what
arrives, calls `turn`, and looks at what each peer was told (`Peer.heard`, which empties what it returns).
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from blockyard.ids import TaskId
from blockyard.wire import client as client_wire
from blockyard.wire import codec, control, monitoring
from blockyard.wire import hub as hub_wire
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import (
    PROTOCOL_VERSION,
    Assigned,
    Body,
    Calls,
    Failure,
    Function,
    Group,
    Lease,
    Need,
    Outcome,
    Running,
    Status,
    TaskSpec,
)
from blockyard_interchange.core import compaction, entries, invariants, reactor, replay, showing
from blockyard_interchange.core import notes as notes_of
from blockyard_interchange.core.effects import Effects
from blockyard_interchange.core.settings import PoolSettings, Settings
from blockyard_interchange.core.state import State, Task
from blockyard_interchange.journal.log import Log
from blockyard_interchange.journal.memory import MemoryStore
from blockyard_interchange.journal.store import Store

M = TypeVar("M")
PYTHON = "3.11"


def a_function(name: str = "f", *, size: int = 8) -> Function:
    """A function with a body made of its name."""
    body = name.encode().ljust(size, b".")
    return Function(blake2b(body, digest_size=16).digest(), f"module.{name}", body, PYTHON)


def a_spec(function: str = "f", **fields: Any) -> TaskSpec:
    """A spec of `a_function(function)`."""
    return TaskSpec(a_function(function).id, **fields)


class Peer:
    """One end of a link, as the interchange sees it."""

    def __init__(self, bench: "Bench", peer: bytes, user: str) -> None:
        self.bench = bench
        self.peer = peer
        self.user = user
        self.inbox: list[Any] = []

    def heard(self, kind: type[M]) -> list[M]:
        """What it was told of this kind; leaves the rest."""
        found = [one for one in self.inbox if isinstance(one, kind)]
        self.inbox[:] = [one for one in self.inbox if not isinstance(one, kind)]
        return found


class Client(Peer):
    """A client by hand."""

    def __init__(self, bench: "Bench", session: int, **hello: Any) -> None:
        super().__init__(bench, b"client-%d" % session, hello.pop("user", "client:me"))
        self.session = session
        self.number = 0
        self.next = 0
        self.hello = client_wire.Hello(
            PROTOCOL_VERSION, session, session.to_bytes(16, "big"), hello.pop("run", ""), PYTHON, **hello
        )

    def say(self, message: client_wire.FromClient) -> None:
        """Send one message."""
        bench = self.bench
        decoded: client_wire.FromClient = codec.from_client.decode(codec.encode(message))
        reactor.from_client(bench.state, self.peer, self.user, decoded, bench.now, near=False)
        bench.check()

    def submit(self, *groups: Group, number: int | None = None) -> list[int]:
        """Submit groups as they are; returns the names of their tasks."""
        self.number = self.number + 1 if number is None else number
        self.say(client_wire.Submit(self.number, list(groups)))
        return [self.task(group.first + place) for group in groups for place in range(len(group.bodies))]

    def call(
        self,
        spec: TaskSpec | None = None,
        bodies: Sequence[Body] = (b"x",),
        *,
        needs: Sequence[Sequence[int]] = (),
        keys: Sequence[str] = (),
        given: Sequence[Need] = (),
        memos: Sequence[Sequence[bytes]] = (),
    ) -> list[int]:
        """Submit one group with the next numbers."""
        first, self.next = self.next, self.next + len(bodies)
        group = Group(
            spec or a_spec(), first, list(bodies), [list(n) for n in needs], list(keys), list(given),
            [list(one) for one in memos],
        )  # fmt: skip
        return self.submit(group)

    def task(self, number: int) -> int:
        """The name of the task with this number."""
        return self.session << 32 | number

    def outcomes(self) -> list[Outcome]:
        """All outcomes it was told."""
        return [one for frame in self.heard(client_wire.Outcomes) for one in frame.outcomes]

    def collect(self, tasks: Iterable[int], frames: int = 0) -> None:
        """Let results go."""
        self.say(client_wire.Collect(frames, list(tasks)))

    def ask(self, question: control.Question, kind: type[M]) -> M:
        """Ask, and return the answer."""
        self.begin(question)
        return self.answered(kind)

    def begin(self, question: control.Question) -> None:
        """Ask; the answer may come later."""
        self.say(client_wire.Ask(77, msgspec.Raw(msgspec.msgpack.encode(question))))
        self.bench.turn()

    def answered(self, kind: type[M]) -> M:
        """The answer that has come."""
        (reply,) = self.heard(client_wire.Reply)
        answer = msgspec.msgpack.decode(reply.answer, type=control.Answer)
        assert isinstance(answer, kind), answer
        return answer

    def is_refused(self, question: control.Question) -> client_wire.Refused:
        """Ask what is refused, and return the refusal."""
        self.begin(question)
        (refused,) = self.heard(client_wire.Refused)
        assert refused.number == 77
        return refused


class Manager(Peer):
    """A manager by hand."""

    def __init__(self, bench: "Bench", name: str, **join: Any) -> None:
        pool = join.pop("pool", "default")
        super().__init__(bench, name.encode(), f"pool:{pool}")
        self.name = name
        self.number = 0
        fields: dict[str, Any] = {
            "block": name,
            "node": name,
            "python": PYTHON,
            "workers": 1,
            "cores": 1.0,
            "memory_bytes": 0,
        }
        fields |= {"accelerators": 0} | join
        self.join = manager_wire.Join(PROTOCOL_VERSION, name, pool, **fields)

    def say(self, message: manager_wire.FromManager) -> None:
        """Send one message."""
        bench = self.bench
        decoded: manager_wire.FromManager = codec.from_manager.decode(codec.encode(message))
        reactor.from_manager(bench.state, self.peer, self.user, decoded, bench.now, near=False)
        bench.check()

    def assigned(self) -> list[Assigned]:
        """The tries it was given."""
        return [one for frame in self.heard(manager_wire.Assign) for group in frame.groups for one in group.tasks]

    def report(self, *outcomes: Outcome) -> None:
        """Tell how tries ended."""
        self.number += 1
        self.say(manager_wire.Outcomes(self.number, list(outcomes)))

    def beat(self, *running: Lease, seconds: float = 1.0) -> None:
        """A heartbeat that names what runs, for so long."""
        now = [Running(one.task, one.epoch, seconds) for one in running]
        self.say(manager_wire.Heartbeat(len(running), 0, 0, running=now))

    def back(self, *holds: Lease, peer: bytes | None = None) -> None:
        """Join again, holding these."""
        if peer is not None:
            self.bench.rename(self, peer)
        self.say(msgspec.structs.replace(self.join, holds=list(holds)))


class Hub(Peer):
    """A hub by hand."""

    def __init__(self, bench: "Bench", name: bytes = b"hub") -> None:
        super().__init__(bench, name, "hub:default")

    def say(self, message: hub_wire.FromHub) -> None:
        """Send one message."""
        notes = self.bench.state.notes
        assert notes is not None, "monitoring is off"
        decoded: hub_wire.FromHub = codec.from_hub.decode(codec.encode(message))
        if isinstance(decoded, hub_wire.Offer | hub_wire.Shown):
            showing.from_hub(self.bench.state, self.peer, decoded, self.bench.now)
        else:
            notes_of.from_hub(self.bench.state, notes, self.peer, decoded, self.bench.now)

    def packets(self) -> dict[int, monitoring.AnyPacket]:
        """What it was told to keep, by number; several times the same is once."""
        found: dict[int, monitoring.AnyPacket] = {}
        for frame in self.heard(hub_wire.Notes):
            first = frame.number - len(frame.packets) + 1
            for place, told in enumerate(frame.packets):
                decoder = codec.packet_of_worker if told.pool else codec.packet_of_interchange
                found[first + place] = decoder.decode(told.packet)
        return found

    def records(self, kind: type[M]) -> list[M]:
        """The records of one kind in what it was told; the others are gone with it."""
        packets = self.packets()
        return [one for number in sorted(packets) for one in packets[number].records if isinstance(one, kind)]

    def tries(self) -> list[monitoring.Try]:
        """The tries among them, in order; the others are gone, too."""
        return [one for record in self.records(monitoring.Tries) for one in record.tries]


class Bench:
    """An interchange and its journal."""

    def __init__(
        self,
        *,
        floor_bytes: int = 1 << 30,
        pools: dict[str, PoolSettings] | None = None,
        store: Store | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(pools={"default": PoolSettings(workers=4)} if pools is None else pools, **settings)
        self.store: Store = MemoryStore() if store is None else store
        self.floor_bytes = floor_bytes
        self.now = 1000.0
        self.wall_offset = 5000.0
        """UTC less the monotonic clock, as the next start finds it."""
        self.peers: dict[bytes, Peer] = {}
        self.lost: list[tuple[bytes, object]] = []
        """What was told to peers that are not there."""
        self.unlinked: list[str] = []
        self.entries: list[entries.Entry] = []
        """All entries ever committed, copies made by compaction apart."""
        self._start()

    def _start(self) -> None:
        self.log = Log(self.store, floor_bytes=self.floor_bytes)
        self.state = State(self.settings, self.log.open(), self.wall_offset, seal=bytes(range(32)))
        replay.replay(self.state, [entries.decode(entry) for entry in self.log.replay()], self.now)
        self.check()

    def restart(self) -> None:
        """Kill the interchange after its last commit, and start it again."""
        self.store.close()
        self._start()

    def forget_since(self, committed: list[bytes]) -> None:
        """Kill the interchange, and with it all that was not among these entries yet; start it again."""
        opening = self.state.opening
        self.store = MemoryStore()
        log = Log(self.store)
        for _ in range(opening):
            self.store.close()
            log.open()
        for entry in committed:
            log.append(entry)
        log.commit(sync=False)
        self.restart()

    def check(self) -> None:
        """All invariants."""
        invariants.check(self.state)

    def client(self, session: int = 1, *functions: str, **hello: Any) -> Client:
        """A client that has been welcomed and has registered its functions (`f`, unless others are named)."""
        one = Client(self, session, **hello)
        self.peers[one.peer] = one
        one.say(one.hello)
        one.say(client_wire.Register([a_function(name) for name in functions or ("f",)]))
        return one

    def manager(self, name: str = "m1", **join: Any) -> Manager:
        """A manager that has joined; one worker, unless told."""
        one = Manager(self, name, **join)
        self.peers[one.peer] = one
        one.say(one.join)
        return one

    def hub(self, name: bytes = b"hub") -> Hub:
        """A hub that follows."""
        one = Hub(self, name)
        self.peers[one.peer] = one
        one.say(hub_wire.Follow(monitoring.VERSION))
        return one

    def rename(self, peer: Peer, name: bytes) -> None:
        """A peer has a new connection."""
        self.peers.pop(peer.peer, None)
        peer.peer = name
        self.peers[name] = peer

    def turn(self, seconds: float = 0.0) -> Effects:
        """Let time pass, have a turn, carry out its effects."""
        self.now += seconds
        effects = reactor.turn(self.state, self.now)
        self.check()
        invariants.check_turn(self.state)
        for peer, to_manager in effects.before:
            self._deliver(peer, codec.to_manager.decode(codec.encode(to_manager)))
        self.entries += effects.entries
        for entry in effects.entries:
            self.log.append(entries.encode(entry))
        self.compact()
        self.log.commit(sync=effects.sync)
        reactor.on_committed(self.state, effects, self.now)
        for peer, to_manager in effects.after_managers:
            self._deliver(peer, codec.to_manager.decode(codec.encode(to_manager)))
        for peer, to_client in effects.after_clients:
            self._deliver(peer, codec.to_client.decode(codec.encode(to_client)))
        for peer, to_hub in effects.after_hub:
            self._deliver(peer, codec.to_hub.decode(codec.encode(to_hub)))
        self.unlinked += effects.unlink
        return effects

    def compact(self) -> None:
        """As the shell does."""
        while (number := self.log.oldest_to_compact(self.state.live_bytes)) is not None:
            self.log.replace_oldest(compaction.rewritten(self.state, self.log.entries(number)))

    def compact_all(self) -> None:
        """Rewrite every chunk there is, whatever it is worth."""
        for number in range(*self.store.bounds()):
            self.log.replace_oldest(compaction.rewritten(self.state, self.log.entries(number)))
            self.log.commit(sync=False)

    def compact_oldest(self) -> None:
        """Rewrite the oldest chunk alone."""
        (number, _) = self.store.bounds()
        self.log.replace_oldest(compaction.rewritten(self.state, self.log.entries(number)))
        self.log.commit(sync=False)

    def _deliver(self, peer: bytes, message: object) -> None:
        found = self.peers.get(peer)
        if found is None:
            self.lost.append((peer, message))
        else:
            found.inbox.append(message)

    def task(self, name: int) -> Task:
        """The task of this name."""
        return self.state.tasks[TaskId(name)]

    def recorded(self, name: int) -> list[Outcome]:
        """The outcomes of a task in the journal."""
        return [
            outcome
            for entry in self.entries
            if isinstance(entry, entries.Ended)
            for outcome in entry.outcomes
            if outcome.task == name
        ]


def done(one: Assigned, body: Body = b"y", seconds: float = 0.001) -> Outcome:
    """It succeeded."""
    return Outcome(one.task, one.epoch, Status.DONE, body, seconds)


def ended(one: Assigned, status: Status, *types: str, message: str = "why") -> Outcome:
    """It ended otherwise."""
    return Outcome(one.task, one.epoch, status, b"", 0.001, Failure(message, list(types)))


def joined(one: Assigned, *bodies: Body, name: str = "g", pool: str = "default") -> Outcome:
    """It left calls of `name` to be done."""
    function = a_function(name)
    calls = Calls([Group(TaskSpec(function.id, pool), 0, list(bodies))], [function])
    return Outcome(one.task, one.epoch, Status.JOIN, b"", 0.001, None, calls)


def lease(one: Assigned) -> Lease:
    """Its name on the wire."""
    return Lease(one.task, one.epoch)
