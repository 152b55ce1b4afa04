"""A keeper's process: the real session core, and orders that define pools, remove them, and define them again."""

import msgspec

from blockyard.session.core import Answers, SessionCore, Standing
from blockyard.wire import client as wire
from blockyard.wire import codec, control, keeping
from blockyard.wire.records import PROTOCOL_VERSION
from tests.simulation import plans
from tests.simulation.ledger import Wrong
from tests.simulation.network import Link, Network
from tests.simulation.world import Node, World

USER = "keeper:operator"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(control.Answer).decode


class Keeper(Node):
    """Says each order until it is answered, and leaves when it is told to and has nothing left to say."""

    def __init__(self, world: World, network: Network) -> None:
        super().__init__(world, "keeper")
        self.is_done = False
        self._number = 1 << 32
        self._orders: list[keeping.KeeperOrder] = []
        self._open: dict[int, keeping.KeeperOrder] = {}
        session = world.random.randint(1, 2**31 - 1)
        hello = wire.Hello(PROTOCOL_VERSION, session, session.to_bytes(16, "big"), "", plans.PYTHON, name="keeper")
        self.core = SessionCore(hello)
        self.link = Link(network, self, USER, self._on_frame)
        self.link.send(self.core.hello(b"", world.now))
        self.later(0.05, self._tick)

    def order(self, order: keeping.KeeperOrder) -> None:
        """Have something done, after what was ordered before."""
        self.world.note(f"keeper orders {type(order).__name__}")
        self._orders.append(order)

    def _tick(self) -> None:
        core = self.core
        if core.standing is Standing.REFUSED:
            raise Wrong(f"the keeper was refused: {core.refusal}")
        if core.standing is Standing.OPEN:
            for order in self._orders:
                self._number += 1
                self._open[self._number] = order
                self.link.send(core.ask(self._number, msgspec.Raw(_encode(order)), watch=False))
            self._orders.clear()
            if self.is_done and not self._open:
                self.link.send(codec.encode(wire.Bye(cancel=False)))
                self.later(1.0, self._close)
                return
        for frame in core.on_time(bytes, self.world.now):
            self.link.send(frame)
        self.later(core.heartbeat / 4, self._tick)

    def _on_frame(self, frame: bytes) -> None:
        answers = Answers()
        for answer in self.core.receive([frame], answers, self.world.now):
            self.link.send(answer)
        for reply in answers.replies:
            answered = _decode(reply.answer)
            if not isinstance(answered, control.Done):
                raise Wrong(f"the order {self._open.get(reply.number)} was answered by {answered}")
            self._open.pop(reply.number, None)
        for refused in answers.refused_questions:
            raise Wrong(f"the order {self._open.get(refused.number)} was refused: {refused.message}")

    def _close(self) -> None:
        self.kill()
        self.link.close()
