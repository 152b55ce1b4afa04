"""Forged, mutated and torn messages to a real hub: none gets in, all are counted, and it neither dies nor grows.

Sizes: 3,000 for each network radio, a million at full size.
"""

import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from blockyard.errors import BadFrame
from blockyard.keyring import KeyRing
from blockyard.radios import RadioConfig, UdpRadio, ZmqRadio, from_json, to_json
from blockyard.radios.suites import AT, a_file
from blockyard.radios.udp import Datagram, sign
from blockyard.transport import Context, Dealer, KeyPair
from blockyard.wire import codec
from blockyard.wire.monitoring import VERSION, Event, Packet, Run, Use, WorkerTasks, micros
from blockyard_monitoring.settings import HubSettings, SinkSettings
from tests.contract.monitoring.databases import SqliteDatabase
from tests.integration.processes import WITHIN, wait_until
from tests.machine import Size
from tests.ports import free_port

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

SMALL, FULL = 3_000, 1_000_000
GROWTH_BYTES = 64 * 1024 * 1024
LOG_BYTES = 256 * 1024
PACE = 50
"""Datagrams that are sent before the hub's buffer is looked at."""


class Hub(NamedTuple):
    """One that runs."""

    pid: int
    folder: Path
    metrics_port: int
    radio: RadioConfig

    def refused(self) -> dict[str, int]:
        """By reason, as it shows."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=WITHIN) as answer:
            lines = [line for line in answer.read().decode().splitlines() if "hub_refused_total{" in line]
        return {line.partition('reason="')[2].partition('"')[0]: int(float(line.split()[-1])) for line in lines}

    def resident_bytes(self) -> int:
        """Its memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def files(self) -> list[str]:
        """What its history knows."""
        with contextlib.suppress(sqlite3.OperationalError):  # it has made no tables yet
            return [path for (path,) in SqliteDatabase(self.folder / "monitoring.db").ask("SELECT path FROM files")]
        return []


@contextmanager
def a_hub(folder: Path, radio: RadioConfig) -> Iterator[Hub]:
    folder.mkdir(mode=0o700)
    KeyRing(folder / "keys").interchange("hubs")
    port = free_port()
    sinks = (
        SinkSettings("sql", {"url": f"sqlite:///{folder}/monitoring.db"}),
        SinkSettings("prometheus", {"listen": f"127.0.0.1:{port}"}),
    )
    settings = HubSettings(folder=str(folder), radio=to_json(radio).decode(), sinks=sinks, parent=os.getpid())
    (folder / "hub.json").write_bytes(msgspec.json.encode(settings))
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "blockyard_monitoring", str(folder / "hub.json")], stderr=log)
    try:
        ready = wait_until("the hub is ready", (folder / "hub.log").read_text, lambda text: "hub ready" in text)
        assert "hub ready" in ready
        yield Hub(process.pid, folder, port, from_json((folder / "radio.json").read_bytes()))
        assert process.poll() is None, (folder / "hub.log").read_text()[-2000:]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(WITHIN)


def nonsense(dice: random.Random) -> Iterator[bytes]:
    """What is no packet of a worker: packets with a few bytes changed, cut or added, forbidden ones, and noise."""
    use = Use(1 << 32, 1, micros(AT), micros(AT), 3, 4)
    genuine = [
        codec.encode(Packet(VERSION, "manager:1", number, micros(AT), [record]))
        for number, record in enumerate(
            [a_file(1), Event(micros(AT), "k", "s", "x" * 200), WorkerTasks("p", "m", "b", "n", 1, 2, "", [use] * 3)], 1
        )
    ]
    forbidden = codec.encode(Packet(VERSION, "manager:1", 4, micros(AT), [Run(1, "forged")]))
    while True:
        packet = bytearray(dice.choice(genuine))
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(packet) or 1)
            match dice.randrange(5):
                case 0:
                    packet[place : place + 1] = dice.randbytes(1)
                case 1:
                    del packet[place:]
                case 2:
                    packet[place:place] = dice.randbytes(dice.randint(1, 9))
                case 3:
                    packet = bytearray(forbidden)
                case 4:
                    packet = bytearray(dice.randbytes(dice.randrange(300)))
        with contextlib.suppress(BadFrame):
            codec.packet_of_worker.decode(bytes(packet))
            continue  # a change that makes another message of it
        yield bytes(packet)


def zmq_attack(hub: Hub, count: int) -> dict[str, int]:
    """Who has a worker's key sends nonsense, others knock without; returns what should be counted."""
    radio = hub.radio
    assert isinstance(radio, ZmqRadio)
    host, _, port = radio.address.removeprefix("tcp://").partition(":")
    dice = random.Random(5)
    for _ in range(50):  # no ZMTP at all
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), WITHIN) as stranger:
            stranger.sendall(dice.randbytes(500))
    keys = KeyPair(radio.sender_public.encode(), radio.sender_secret.encode())
    with contextlib.closing(Context()) as context:
        server = radio.server_public.encode()
        stranger_link = Dealer(context, radio.address, server_key=server, keys=KeyPair.new())
        link = Dealer(context, radio.address, server_key=server, keys=keys)
        for packet, _ in zip(nonsense(dice), range(count), strict=False):
            deadline = time.monotonic() + WITHIN
            while not link.send(packet):
                assert time.monotonic() < deadline, "the hub reads"
                time.sleep(0.001)
            link.receive_all(1000)
        wait_until("strangers are counted", hub.refused, lambda found: found.get("key", 0) > 0)
        wait_until("all is counted", hub.refused, lambda found: found.get("malformed", 0) >= count, within=600.0)
        stranger_link.close()
        link.close()
    return {"malformed": count}


def udp_attack(hub: Hub, count: int) -> dict[str, int]:
    """Datagrams of another key, changed ones, ones sent again, and nonsense that is signed; as above."""
    radio = hub.radio
    assert isinstance(radio, UdpRadio)
    key, dice, drawn = bytes.fromhex(radio.key), random.Random(6), nonsense(random.Random(7))
    sender = dice.randbytes(16)
    expected = dict.fromkeys(("forged", "malformed", "replayed"), 0)
    malformed = b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((radio.address, radio.port))
        for number in range(1, count + 1):
            body = next(drawn)
            signed = codec.encode(Datagram(sender, number, 0, 1, body or b"x"))
            genuine = sign(key, radio.algorithm, signed) + signed
            match dice.randrange(4):
                case 0:
                    expected["forged"] += 1
                    out.send(sign(b"j" * 32, radio.algorithm, signed) + signed)
                case 1:
                    expected["forged"] += 1
                    place = dice.randrange(len(genuine))
                    out.send(genuine[:place] + bytes([genuine[place] ^ 1 << dice.randrange(8)]) + genuine[place + 1 :])
                case 2 if malformed:
                    expected["replayed"] += 1
                    out.send(malformed)
                case _:
                    expected["malformed"] += 1
                    malformed = genuine
                    out.send(genuine)
            if number % PACE == 0:
                wait_until("the hub reads", lambda: waiting(radio.port)[0], lambda size: size == 0)
    assert waiting(radio.port)[1] == 0, "none was dropped by the kernel, or the sums would say nothing"
    return expected


def waiting(port: int) -> tuple[int, int]:
    """Bytes that wait in the kernel for the socket on this port, and datagrams that it dropped (proc(5), net/udp)."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            return int(fields[4].rpartition(":")[2], 16), int(fields[-1])
    raise AssertionError(f"nobody listens on port {port}")


@pytest.mark.parametrize("radio, attack", [(ZmqRadio, zmq_attack), (UdpRadio, udp_attack)])
def test_none_gets_in_and_the_hub_lives(
    tmp_path: Path, size: Size, radio: type[RadioConfig], attack: Callable[[Hub, int], dict[str, int]]
) -> None:
    count = FULL if size is Size.FULL else SMALL
    with a_hub(tmp_path / "state", radio()) as hub:
        sender = hub.radio.create_sender("manager:1")
        sender.send([a_file(1)], at=AT)
        wait_until("what is right gets in", hub.files, lambda found: found == ["/tmp/1"])
        before = hub.resident_bytes()
        expected = attack(hub, count)
        wait_until("all is counted", hub.refused, lambda found: found.items() >= expected.items())
        assert {reason for reason in hub.refused() if reason not in expected} <= {"key"}
        assert hub.resident_bytes() < before + GROWTH_BYTES
        assert (hub.folder / "hub.log").stat().st_size < LOG_BYTES
        sender.send([a_file(2)], at=AT)
        wait_until("what is right still gets in", hub.files, lambda found: sorted(found) == ["/tmp/1", "/tmp/2"])
        sender.close()
        assert SqliteDatabase(hub.folder / "monitoring.db").ask("SELECT count(*) FROM sessions") == [(0,)]
