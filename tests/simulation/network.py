"""Links between a process and the interchange, as ZMQ's DEALER and ROUTER make them over TCP.

Within a connection frames keep their order and none is lost. A cut loses, in each direction, some of what was on its
way last; the socket connects again by itself under another name for the peer, and what was handed to it meanwhile
follows then. The interchange's frames to a name that is gone are dropped. Different links have different delays, so
between links anything overtakes anything.
"""

from collections import deque
from collections.abc import Callable

from tests.simulation.world import Node, World


class Link:
    """One socket of a node, connected to the interchange whenever both are there."""

    def __init__(self, network: "Network", node: Node, user: str, on_frame: Callable[[bytes], None]) -> None:
        self.network = network
        self.node = node
        self.user = user
        self.on_frame = on_frame
        self.peer = b""
        """Name at the interchange; b'' while there is no connection."""
        self.delay = 0.0
        self.closed = False
        self.unsent: deque[bytes] = deque()
        self._up: deque[tuple[bytes, bytes]] = deque()
        self._down: deque[bytes] = deque()
        self._up_free = self._down_free = 0.0
        self._generation = 0
        self.connect_soon()

    def send(self, frame: bytes) -> None:
        """Send towards the interchange."""
        if self.closed:
            return
        if self.peer:
            self._fly_up(frame)
        else:
            self.unsent.append(frame)

    def deliver(self, frame: bytes) -> None:
        """Send towards the node; called by the interchange's side."""
        world = self.network.world
        self._down_free = max(self._down_free, world.now + self.delay)
        self._down.append(frame)
        generation = self._generation
        world.at(self._down_free - world.now, lambda: self._arrive_down(generation))

    def cut(self) -> None:
        """Lose the connection, and the tail of what was on its way; another one comes by and by."""
        if not self.peer:
            return
        world, generation = self.network.world, self._generation
        self.network.peers.pop(self.peer, None)
        self.peer = b""
        self._generation += 1
        kept_up = list(self._up)[: world.random.randint(0, len(self._up))]
        kept_down = list(self._down)[: world.random.randint(0, len(self._down))]
        world.note(
            f"link of {self.node.name} is cut: lost {len(self._up) - len(kept_up)} up, "
            f"{len(self._down) - len(kept_down)} down"
        )
        del generation
        self._up.clear()
        self._down.clear()
        for peer, frame in kept_up:
            self.network.to_interchange(peer, self.user, frame)
        for frame in kept_down:
            self.node.do(lambda frame=frame: self.on_frame(frame))  # type: ignore[misc]
        self.connect_soon()

    def connect_soon(self) -> None:
        """Try to connect."""
        world = self.network.world
        if not self.closed:
            world.at(world.between(0.001, 0.2), self._connect)

    def close(self) -> None:
        """The process is gone."""
        self.closed = True
        if self.peer:
            kept = list(self._up)[: self.network.world.random.randint(0, len(self._up))]
            self.network.peers.pop(self.peer, None)
            self.peer = b""
            for peer, frame in kept:
                self.network.to_interchange(peer, self.user, frame)
        self._up.clear()
        self._down.clear()

    def _connect(self) -> None:
        if self.closed or self.peer:
            return
        if not self.network.listens:
            self.connect_soon()
            return
        world = self.network.world
        self.peer = self.network.new_peer(self)
        self.delay = world.between(0.0001, 0.02)
        while self.unsent:
            self._fly_up(self.unsent.popleft())

    def _fly_up(self, frame: bytes) -> None:
        world = self.network.world
        self._up_free = max(self._up_free, world.now + self.delay)
        self._up.append((self.peer, frame))
        generation = self._generation
        world.at(self._up_free - world.now, lambda: self._arrive_up(generation))

    def _arrive_up(self, generation: int) -> None:
        if generation == self._generation and self._up:
            peer, frame = self._up.popleft()
            self.network.to_interchange(peer, self.user, frame)

    def _arrive_down(self, generation: int) -> None:
        if generation == self._generation and self._down:
            frame = self._down.popleft()
            self.node.do(lambda: self.on_frame(frame))


class Network:
    """All links."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.peers: dict[bytes, Link] = {}
        self.listens = False
        self.receive: Callable[[bytes, str, bytes], None] = lambda _peer, _user, _frame: None
        self._number = 0

    def new_peer(self, link: Link) -> bytes:
        """A name that nobody had before."""
        self._number += 1
        name = b"peer-%d" % self._number
        self.peers[name] = link
        return name

    def to_interchange(self, peer: bytes, user: str, frame: bytes) -> None:
        """A frame has arrived at the interchange's machine."""
        if self.listens:
            self.receive(peer, user, frame)

    def to_peer(self, peer: bytes, frame: bytes) -> None:
        """The interchange sends; to a name that is gone, nothing happens."""
        link = self.peers.get(peer)
        if link is not None:
            link.deliver(frame)

    def cut_all(self) -> None:
        """The interchange's process is gone."""
        for link in list(self.peers.values()):
            link.cut()
