"""A hub gives pools their receivers when the operator asks, over real sockets, and has them again after its death."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blockyard.errors import ConfigError
from blockyard.keyring import KeyRing
from blockyard.radios import Arrival, from_json
from blockyard.session import LinkSettings
from blockyard.transport import KeyPair
from blockyard.wire.monitoring import AnyRecord, WorkerTasks
from blockyard_monitoring.operator_door import OperatorDoor
from blockyard_monitoring.pool_radios import PoolRadios
from blockyard_monitoring.settings import RadioSettings
from blockyard_operator.hub import HubLine
from tests.integration.processes import wait_until
from tests.ports import free_ports

WITHIN = 30.0
ZMQ, UDP = (json.dumps({"kind": kind, "settings": {}}) for kind in ("zmq", "udp"))


class Basket:
    """A bus that keeps everything."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.refused: list[tuple[str, str]] = []

    def put(self, arrival: Arrival) -> bool:
        self.records += arrival.packet.records
        if arrival.on_stored is not None:
            arrival.on_stored()
        return True

    def refuse(self, radio: str, reason: str) -> None:
        self.refused.append((radio, reason))


async def seen(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.fixture
def ports() -> RadioSettings:
    return RadioSettings(host="127.0.0.1", first_port=free_ports(2), ports=2)


def tell(config: str, pool: str = "ns.a") -> bool:
    """Send one record of a pool by a radio, as a manager would; whether it went."""
    sender = from_json(config.encode()).create_sender("manager:m1")
    try:
        return sender.send([WorkerTasks(pool, "m1", "b", "n", 0, 1, "", [])], at=time.time())
    finally:
        sender.close()


@pytest.fixture
def made(tmp_path: Path, ports: RadioSettings) -> Iterator[tuple[PoolRadios, Basket]]:
    basket = Basket()
    radios = PoolRadios(tmp_path / "radios", basket, ports, KeyPair.new())
    yield radios, basket
    radios.close()


@pytest.mark.parametrize("wanted", [ZMQ, UDP])
def test_a_pools_workers_are_heard_and_for_no_other_pool(made: tuple[PoolRadios, Basket], wanted: str) -> None:
    radios, basket = made
    config = radios.listen("ns.a", wanted)
    assert radios.listen("ns.a", wanted) == config, "asked again, the same"
    assert tell(config)
    wait_until("it is heard", lambda: basket.records, bool)
    assert tell(config, pool="ns.b")
    refused = [(json.loads(wanted)["kind"], "pool")]
    wait_until("it is refused", lambda: basket.refused, lambda found: found == refused)
    assert [record.pool for record in basket.records if isinstance(record, WorkerTasks)] == ["ns.a"]


def test_ports_are_of_the_range_and_are_given_back(made: tuple[PoolRadios, Basket], ports: RadioSettings) -> None:
    radios, _ = made
    for place, pool in enumerate(("ns.a", "ns.b")):
        assert f":{ports.first_port + place}" in radios.listen(pool, ZMQ)
    with pytest.raises(ConfigError, match="all 2 ports"):
        radios.listen("ns.c", ZMQ)
    assert "interchange" in radios.listen("ns.d", json.dumps({"kind": "interchange", "settings": {}}))
    radios.shut("ns.a")
    assert f":{ports.first_port}" in radios.listen("ns.c", ZMQ)


def test_another_wish_is_another_receiver(made: tuple[PoolRadios, Basket]) -> None:
    radios, basket = made
    first = radios.listen("ns.a", ZMQ)
    second = radios.listen("ns.a", UDP)
    assert from_json(second.encode()).kind == "udp"
    assert tell(second)
    wait_until("it is heard", lambda: basket.records, bool)
    assert from_json(first.encode()).kind == "zmq"
    assert radios.pools == ["ns.a"]


@pytest.mark.parametrize(
    "pool, wanted, named",
    [
        ("../a", ZMQ, "no name"),
        ("ns.a", '{"kind": "pigeon", "settings": {}}', "pigeon"),
        ("ns.a", '{"kind": "filesystem", "settings": {"folder": "/"}}', "none that this hub has"),
        ("ns.a", '{"kind": "udp", "settings": {"datagram_bytes": 3}}', "datagram_bytes"),
        ("ns.a", '{"kind": "udp", "settings": {"port": "many"}}', "port"),
        ("ns.a", "[]", "radio"),
    ],
)
def test_what_cannot_be_is_refused_by_name(made: tuple[PoolRadios, Basket], pool: str, wanted: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        made[0].listen(pool, wanted)
    assert made[0].pools == []


def test_what_is_known_brings_in_no_other_kind(made: tuple[PoolRadios, Basket]) -> None:
    """It comes out of a Secret that somebody may have changed."""
    known = '{"kind": "filesystem", "settings": {"folder": "/"}}'
    assert from_json(made[0].listen("ns.a", UDP, known).encode()).kind == "udp"


def test_the_next_hub_hears_the_senders_of_before(tmp_path: Path, ports: RadioSettings) -> None:
    """With its folder by itself; without, when the operator tells what it knows."""
    server, basket = KeyPair.new(), Basket()
    folder = tmp_path / "radios"
    first = PoolRadios(folder, basket, ports, server)
    config = first.listen("ns.a", ZMQ)
    first.close()
    second = PoolRadios(folder, basket, ports, server)
    second.restore()
    assert second.pools == ["ns.a"]
    assert tell(config)
    wait_until("it is heard", lambda: basket.records, lambda found: len(found) == 1)
    second.close()
    third = PoolRadios(tmp_path / "others", basket, ports, server)
    third.restore()
    assert third.pools == []
    assert third.listen("ns.a", ZMQ, config) == config
    assert tell(config)
    wait_until("it is heard again", lambda: basket.records, lambda found: len(found) == 2)
    third.close()


class Hub:
    """Door and radios, started again at the same address."""

    def __init__(self, folder: Path, ports: RadioSettings, endpoint: str) -> None:
        ring = KeyRing(folder / "keys")
        self.operator = ring.issue("keeper-operator")
        self.server = ring.interchange("operators")
        self.radios = PoolRadios(folder / "radios", Basket(), ports)
        self.radios.restore()
        self.door = OperatorDoor(endpoint, self.server, ring, self.radios)
        self.door.start()

    def end(self) -> None:
        self.door.end()
        self.radios.close()


def test_the_operators_line_asks_until_it_is_answered_and_again_after_a_restart(
    tmp_path: Path, ports: RadioSettings
) -> None:
    async def story() -> None:
        hub = Hub(tmp_path, ports, "tcp://127.0.0.1:*")
        news: list[str] = []
        link = LinkSettings(hub.door.endpoint, hub.server.public, hub.operator)
        line = HubLine(link, news.append, lambda queue: queue == "ns.stray")
        hub.radios.listen("ns.stray", UDP)
        line.start()
        try:
            line.ask("ns.a", ZMQ, "")
            await seen(lambda: line.view("ns.a").radio)
            await seen(lambda: "ns.stray" not in hub.radios.pools)
            config = line.view("ns.a").radio
            assert "ns.a" in news
            line.ask("ns.bad", '{"kind": "pigeon", "settings": {}}', "")
            await seen(lambda: "pigeon" in line.view("ns.bad").refusal)
            endpoint = hub.door.endpoint
            hub.end()
            for path in sorted((tmp_path / "radios").rglob("*"), reverse=True):  # it lost its folder, too
                path.rmdir() if path.is_dir() else path.unlink()
            await seen(lambda: line.view("ns.a").silent)
            assert line.view("ns.a").radio == config, "what it said holds on"
            hub = Hub(tmp_path, ports, endpoint)
            await seen(lambda: hub.radios.pools == ["ns.a"])
            await seen(lambda: not line.view("ns.a").silent)
            line.shut("ns.a")
            await seen(lambda: hub.radios.pools == [])
        finally:
            line.stop()
            hub.end()

    asyncio.run(story())


def test_a_stranger_is_not_answered(tmp_path: Path, ports: RadioSettings) -> None:
    async def story() -> None:
        hub = Hub(tmp_path, ports, "tcp://127.0.0.1:*")
        line = HubLine(LinkSettings(hub.door.endpoint, hub.server.public, KeyPair.new()), print, bool)
        line.start()
        try:
            line.ask("ns.a", ZMQ, "")
            await seen(lambda: hub.door._gate.refused)
            assert line.view("ns.a").silent
            assert hub.radios.pools == []
        finally:
            line.stop()
            hub.end()

    asyncio.run(story())
