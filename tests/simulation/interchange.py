"""The interchange's process: the real core, the real log, the real shell but for its sockets and its clock."""

import math
from collections import deque
from collections.abc import Callable

from blockyard.wire import codec
from blockyard.wire.manager import Assign
from blockyard_interchange import loop
from blockyard_interchange.commits import Commits
from blockyard_interchange.core import entries, invariants, keeping, reactor, replay, timers
from blockyard_interchange.core.settings import Settings
from blockyard_interchange.core.state import State
from blockyard_interchange.journal.log import Log
from tests.simulation.keepers import USER
from tests.simulation.ledger import Ledger, SimulatedStore
from tests.simulation.network import Network
from tests.simulation.world import Crash, Node, World

_WAKE_SECONDS = 0.0002
FLOOR_BYTES = 600
"""So small that compaction is always at work."""


class _Socket:
    """What the shell takes for its router."""

    def __init__(self, network: Network, crash: Callable[[], bool], ledger: Ledger | None = None) -> None:
        self.inbox: deque[tuple[bytes, str, bytes]] = deque()
        self._network = network
        self._crash = crash
        self._ledger = ledger

    def receive_all(self, most: int) -> list[tuple[bytes, str, bytes]]:
        return [self.inbox.popleft() for _ in range(min(most, len(self.inbox)))]

    def send(self, peer: bytes, frame: bytes, announce: object = None) -> bool:  # no frame here is so large
        if self._crash():
            raise Crash("between two sends")
        if self._ledger is not None:
            message = codec.to_manager.decode(frame)
            if isinstance(message, Assign):
                self._ledger.assigned.update((one.task, one.epoch) for group in message.groups for one in group.tasks)
        self._network.to_peer(peer, frame)
        return True


class _Shell(loop.Loop):
    """The real shell's turn, on simulated sockets."""

    def __init__(self, state: State, log: Log, clients: _Socket, managers: _Socket, ring: set[str]) -> None:
        self.state = state
        self._log = log
        self._clients = clients  # type: ignore[assignment]
        self._managers = managers  # type: ignore[assignment]
        self._nonce = b""
        self._blobs = None
        self._commits = Commits(log, lambda: self._now)
        self._complain_at = 0.0
        self._now = 0.0
        self._ring_users = ring
        self._users = {}
        self._let_in()

    def _let_in(self) -> None:
        """As the real one, but that a user proves itself by name."""
        ordered = [user for side in keeping.keys(self.state) for user in side.values()]
        self._users = {user: user for user in (*self._ring_users, *ordered)}

    def lets_in(self, user: str) -> bool:
        """Whether the gate would."""
        return user in self._users

    def turn(self, now: float) -> None:
        """One round, as in `Loop.run`."""
        self._now = now
        reads = bool(self._managers.inbox or self._clients.inbox)  # type: ignore[attr-defined]
        self._read_managers(now)
        if not self.is_held:
            self._read_clients(now)
        if reads:
            invariants.check(self.state)
        effects = reactor.turn(self.state, now, hears_clients=not self.is_held)
        invariants.check(self.state)
        invariants.check_turn(self.state)
        self._perform(effects, now)

    def wake_at(self, now: float) -> float:
        """When it wants its next turn."""
        return now + min(timers.next_wake(self.state, now), self._commits.seconds_left(now))

    @property
    def has_uncommitted(self) -> bool:
        """Some turn waits for its commit."""
        return self._commits.seconds_left(0.0) < math.inf

    @property
    def is_held(self) -> bool:
        """The journal cannot be written."""
        return self._commits.is_failing


class Interchange(Node):
    """One process after another over one journal."""

    def __init__(self, world: World, network: Network, settings: Settings, ledger: Ledger) -> None:
        super().__init__(world, "interchange")
        self.network = network
        self.settings = settings
        self.ledger = ledger
        self.store = SimulatedStore(ledger)
        self.crash_at_send = 0
        """The process dies at its so-manieth send from now; 0: not."""
        self.restarts = 0
        self.alive = False
        self._turn_due = False
        self._timer = 0
        network.receive = self._receive
        self.start()

    def start(self) -> None:
        """A new process."""
        self.alive = True
        self.restarts += 1
        world = self.world
        self.log = Log(self.store, floor_bytes=FLOOR_BYTES)
        self.state = State(self.settings, self.log.open(), world.wall_offset, seal=bytes(32))
        self.ledger.opening = self.state.opening
        replay.replay(self.state, [entries.decode(entry) for entry in self.log.replay()], world.now)
        invariants.check(self.state)
        world.note(f"interchange starts, opening {self.state.opening}: {len(self.state.tasks)} tasks")
        self.clients = _Socket(self.network, self._crashes_now)
        self.managers = _Socket(self.network, self._crashes_now, self.ledger)
        ring = {"client:me", USER, *(f"pool:{name}" for name in self.settings.pools)}
        self.shell = _Shell(self.state, self.log, self.clients, self.managers, ring)
        self.network.listens = True
        self._turn_due = False
        self._wake(0.0)

    def die(self) -> None:
        """SIGKILL; starts again by and by."""
        if not self.alive:
            return
        self.world.note("interchange is killed")
        self.kill()
        self.network.listens = False
        self.network.cut_all()
        self.store.close()
        self.store.crash_before = self.store.crash_after = False
        self.crash_at_send = 0
        self.world.at(self.world.between(0.05, 1.0), self._start_again)

    def _start_again(self) -> None:
        if self.store.is_away:
            self.world.at(0.2, self._start_again)
        elif not self.alive:
            self.start()

    def _crashes_now(self) -> bool:
        if not self.crash_at_send:
            return False
        self.crash_at_send -= 1
        return not self.crash_at_send

    def _receive(self, peer: bytes, user: str, frame: bytes) -> None:
        if not self.shell.lets_in(user):
            return  # its handshake fails, and it tries again
        socket = self.managers if user.startswith("pool:") else self.clients
        socket.inbox.append((peer, user, frame))
        self._wake(_WAKE_SECONDS)

    def _wake(self, delay: float) -> None:
        if not self._turn_due:
            self._turn_due = True
            restarts = self.restarts
            self.world.at(delay, lambda: self.do(lambda: self._turn(restarts)))

    def _turn(self, restarts: int) -> None:
        if restarts != self.restarts:
            return
        self._turn_due = False
        world = self.world
        try:
            self.shell.turn(world.now)
        except Crash as where:
            world.note(f"interchange dies {where}")
            self.die()
            return
        if self.managers.inbox or (self.clients.inbox and not self.shell.is_held):
            self._wake(_WAKE_SECONDS)
        self._timer += 1
        timer = self._timer
        wake = max(self.shell.wake_at(world.now), world.now + 0.0001)
        world.at(wake - world.now, lambda: self._on_timer(timer, restarts))

    def _on_timer(self, timer: int, restarts: int) -> None:
        if timer == self._timer and restarts == self.restarts:
            self._wake(0.0)


__all__ = ["Interchange", "codec"]
