"""By `udp` messages are lost, and counted: what was sent is what arrived and what is counted as lost, of each sender.

Between senders and hub stands a network that drops, spoils, doubles and delays datagrams. What was spoilt is refused,
and so was lost as well; what is not counted as lost is in the database whole.
"""

import random
import socket
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from blockyard.radios import UdpRadio
from blockyard.wire.monitoring import Use, WorkerTasks
from blockyard_monitoring.hub import Hub
from tests.contract.monitoring.databases import SqliteDatabase
from tests.integration.processes import WITHIN, wait_until
from tests.machine import Size
from tests.unit.monitoring.messages import AT

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

SEED = 20261127
USES = (1, 3, 40)
"""Of one message, in turn; the last takes several datagrams, and is lost with one of them."""


class Network:
    """Hands datagrams on, most of them as they came. `faults`: what became of the others."""

    def __init__(self, hub_port: int) -> None:
        self.faults: Counter[str] = Counter()
        self._chance = random.Random(SEED)
        self._held: list[bytes] = []
        self._hub = ("127.0.0.1", hub_port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def carry(self, *, faithfully: bool = False) -> None:
        """What was sent since; loopback has it here by now."""
        while True:
            try:
                datagram = self._socket.recv(65_536)
            except BlockingIOError:
                return
            for one in [*self._let_go(), datagram] if faithfully else self._spoilt(datagram):
                self._socket.sendto(one, self._hub)

    def close(self) -> None:
        self._socket.close()

    def _let_go(self) -> list[bytes]:
        held, self._held = self._held, []
        return held

    def _spoilt(self, datagram: bytes) -> list[bytes]:
        fault = self._chance.choices(["", "dropped", "forged", "replayed", "held"], [80, 8, 4, 4, 4])[0]
        self.faults[fault] += 1
        held = self._let_go()
        match fault:
            case "dropped":
                return held
            case "forged":
                place = self._chance.randrange(len(datagram))
                return [*held, datagram[:place] + bytes([datagram[place] ^ 1]) + datagram[place + 1 :]]
            case "replayed":
                return [*held, datagram, datagram]
            case "held":
                self._held = [datagram]
                return held
        return [datagram, *held]


def uses(sender: int, number: int) -> WorkerTasks:
    """The records of one message: its number is the worker's."""
    count = USES[number % len(USES)]
    first = (sender + 1 << 32) + number * max(USES)
    parts = [Use(first + place, 1 << 20, AT, AT + 1_000) for place in range(count)]
    return WorkerTasks("default", f"m{sender}", "b1", "n1", number, 77, "", parts)


def test_what_a_sender_sent_has_arrived_or_is_counted_as_lost(tmp_path: Path, size: Size) -> None:
    senders, messages = (20, 5_000) if size is Size.FULL else (3, 400)
    history = SqliteDatabase(tmp_path / "history.db")
    hub = Hub(tmp_path)
    hub.add_sink("sql", {"url": history.url})
    radio = hub.listen(UdpRadio())
    assert isinstance(radio, UdpRadio)
    network = Network(radio.port)
    try:
        lost: dict[str, int] = {}
        for sender in range(senders):
            before = counted(hub)
            wire = msgspec.structs.replace(radio, port=network.port).create_sender(f"m{sender}")
            for number in range(1, messages + 1):
                is_last = number == messages  # only a later message shows that others are missing
                if is_last:
                    settled(hub)
                assert wire.send([uses(sender, number)], at=AT / 1e6)
                network.carry(faithfully=is_last)
                if number % 50 == 0:
                    settled(hub)  # the kernel's buffer is small, and is not the network that is meant
            wire.close()
            arrived, missing = wait_until(
                f"all {messages} messages of sender {sender} are accounted for",
                lambda before=before: tuple(now - then for now, then in zip(counted(hub), before, strict=True)),  # type: ignore[misc]
                lambda found: sum(found) == messages,
                WITHIN,
            )
            assert arrived > 0
            assert missing > 0
            lost[f"m{sender}"] = missing
        refused = hub.bus.counts()["udp"].refused
    finally:
        hub.stop()
        network.close()
    assert refused["forged"] == network.faults["forged"]
    assert refused["replayed"] > 0
    for manager, missing in lost.items():
        rows = dict(
            history.ask(f"SELECT worker, count(*) FROM worker_tasks WHERE manager = '{manager}' GROUP BY worker")
        )
        assert len(rows) == messages - missing
        assert {number: USES[number % len(USES)] for number in rows} == rows, "each that arrived is there whole"


def counted(hub: Hub) -> tuple[int, int]:
    """Messages that arrived, and that are missing."""
    found = hub.bus.counts().get("udp")
    return (0, 0) if found is None else (found.packets, found.lost)


def settled(hub: Hub) -> None:
    """Until the hub has read what was sent."""
    before = None
    while (now := counted(hub)) != before:
        before = now
        time.sleep(0.01)
