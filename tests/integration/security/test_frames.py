"""Peers that hold a key and speak nonsense, or another version: each is refused alone, with a reason, and harms nobody.

The same with far more frames, and without sockets, is in the simulation suite.
"""

import random
import re
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from blockyard import Client, remote
from blockyard.errors import BrokenBlockyard, VersionMismatch
from blockyard.keyring import KeyRing
from blockyard.submitter import Submitter
from blockyard.transport import Context, Dealer
from blockyard.wire import client as client_wire
from blockyard.wire import codec, control
from blockyard.wire import hub as hub_wire
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import (
    PROTOCOL_VERSION,
    Blob,
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
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import status_of
from tests.integration.security.conftest import PYTHON
from tests.integration.security.raw import a_hello, a_join, raw_peer, stolen
from tests.machine import Size

pytestmark = pytest.mark.timeout(300)

_ID = b"i" * 16
_FUNCTION = Function(_ID, "nonsense", b"no pickle", PYTHON)
_GROUP = Group(TaskSpec(_ID, "left", tags=("a",)), 0, [b"x", b"y"], [[], [4711 << 32]], ["", "key"])

CLIENT_MESSAGES: list[client_wire.FromClient] = [
    client_wire.Register([_FUNCTION]),
    client_wire.Submit(1, [_GROUP]),
    client_wire.Submit(2, [Group(TaskSpec(_ID, "left"), 7, [Blob("none", 100)], [], [], [Need(3, b"r")])]),
    client_wire.Cancel([4711 << 32]),
    client_wire.Collect(1, [4711 << 32]),
    client_wire.Reattach(9),
    client_wire.Ping(),
    client_wire.Ask(10, msgspec.Raw(msgspec.msgpack.encode(control.Status()))),
    client_wire.Ask(11, msgspec.Raw(msgspec.msgpack.encode(control.Tasks(["QUEUED"], "left")))),
    client_wire.Put(12, 99, b"value"),
    a_hello(),
]
_LEASE = Lease(4711 << 32, 1)
MANAGER_MESSAGES: list[manager_wire.FromManager] = [
    manager_wire.Outcomes(1, [Outcome(_LEASE.task, 1, Status.RAISED, b"b", 1.0, Failure("no", ["a.B"], "seen"))]),
    manager_wire.Outcomes(2, [Outcome(_LEASE.task, 1, Status.JOIN, calls=Calls([_GROUP], [_FUNCTION]))]),
    manager_wire.Returned([_LEASE]),
    manager_wire.Heartbeat(1, 1, 1, running=[Running(_LEASE.task, 1, 1.0)]),
    manager_wire.Wanted([_ID]),
    manager_wire.Leave("enough"),
    a_join("left", holds=[_LEASE]),
]


def _mutations(messages: list[bytes], count: int, dice: random.Random) -> Iterator[bytes]:
    """Frames that were changed in one of several ways: bytes, length, order, or an integer far out of range."""
    for _ in range(count):
        frame = bytearray(dice.choice(messages))
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(len(frame) or 1)
            match dice.randrange(5):
                case 0:
                    frame[place : place + 1] = dice.randbytes(1)
                case 1:
                    del frame[place:]
                case 2:
                    frame[place:place] = dice.randbytes(dice.randint(1, 9))
                case 3:
                    frame[place : place + 1] = b"\xd3" + dice.randbytes(8)
                case _:
                    frame += dice.choice(messages)[:20]
        yield bytes(frame)


@pytest.mark.soak
@pytest.mark.parametrize("side, key", [("clients", "client-default"), ("managers", "pool-left")])
def test_mutated_frames_harm_nobody_else(
    client: Client, right: Submitter, folder: Path, side: str, key: str, size: Size
) -> None:
    """Small: 10^3 frames a side; full: 10^4."""
    count = 10_000 if size is Size.FULL else 1000
    dice = random.Random(f"{side} 1")
    greeting: object = a_hello() if side == "clients" else a_join("left")
    frames = [codec.encode(one) for one in (CLIENT_MESSAGES if side == "clients" else MANAGER_MESSAGES)]
    before = status_of(client).refused_frames
    with raw_peer(folder, side, stolen(folder, key)) as peer:
        assert peer.say(greeting)
        for number, frame in enumerate(_mutations(frames, count, dice)):
            assert peer.say(frame), "its connection stands"
            if number % 50 == 0:
                peer.say(greeting)
                assert right.submit(abs, -number).result(WITHIN) == number
                while peer.hear(0.0) is not None:
                    pass
    assert status_of(client).refused_frames > before + count // 4


HUB_MESSAGES: list[hub_wire.FromHub] = [
    hub_wire.Follow(1),
    hub_wire.Confirm(1),
    hub_wire.Offer(1),
]


@pytest.mark.soak
def test_mutated_frames_of_a_hub_are_refused_and_do_not_fill_the_log(house: House, size: Size) -> None:
    """Small: 10^3 frames; full: 10^4."""
    count = 10_000 if size is Size.FULL else 1000
    with Client.local(workers=1, folder=house.folder, monitoring=True) as client, closing(Context()) as context:
        assert client.submit(abs, -1).result(WITHIN) == 1
        before = house.interchanges()
        server, keys = KeyRing(house.folder / "keys").interchange("hubs"), stolen(house.folder, "hub-default")
        dealer = Dealer(context, f"ipc://{house.folder}/hub.sock", server_key=server.public, keys=keys)
        frames = [codec.encode(one) for one in HUB_MESSAGES]
        for frame in _mutations(frames, count, random.Random("hub 1")):
            wait_until("the frame is sent", partial(dealer.send, frame), lambda sent: sent)
            while dealer.receive() is not None:
                pass
        wait_until("they are counted", lambda: status_of(client).refused_frames, lambda found: found > count // 2)
        assert client.submit(abs, -2).result(WITHIN) == 2
        assert house.interchanges() == before
        assert (house.folder / "interchange.log").read_text().count("frame of a hub refused") < count // 10
        dealer.close()


def test_frames_of_nothing_but_noise_are_counted(client: Client, folder: Path) -> None:
    before = status_of(client).refused_frames
    with raw_peer(folder, "managers", stolen(folder, "pool-left")) as peer:
        for _ in range(10):
            assert peer.say(random.Random(3).randbytes(100))
            assert peer.wait_for(manager_wire.Refused).kind == "protocol"
    assert status_of(client).refused_frames == before + 10


@pytest.mark.parametrize(
    "side, key, greeting, kind, words",
    [
        ("clients", "client-default", a_hello(version=999), "version", "protocol 999.*interchange 1"),
        ("managers", "pool-left", a_join("left", version=999), "version", "protocol 999.*interchange 1"),
        ("managers", "pool-left", a_join("left", python="3.99"), "python", rf"3\.99.*'left' {PYTHON}"),
        ("managers", "pool-left", a_join("nowhere"), "key", "pool:left.*nowhere"),
        ("managers", "pool-left", a_join("left", workers=0), "workers", "at least 1"),
    ],
)
def test_a_peer_that_does_not_fit_is_refused_alone_with_the_reason(
    client: Client, folder: Path, side: str, key: str, greeting: object, kind: str, words: str
) -> None:
    with raw_peer(folder, side, stolen(folder, key)) as peer:
        assert peer.say(greeting)
        refusal = peer.hear()
        assert isinstance(refusal, client_wire.Refused | manager_wire.Refused), refusal
        assert refusal.kind == kind
        assert re.search(words, refusal.message), refusal.message


def test_a_client_of_another_version_hears_why(client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PROTOCOL_VERSION", PROTOCOL_VERSION + 1)
    with pytest.raises(BrokenBlockyard, match=f"protocol {PROTOCOL_VERSION + 1}.*install the same"):
        Client.connect(folder)


def test_a_client_of_another_python_is_refused_up_front_with_both_named(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PYTHON", "3.99")
    with Client.connect(folder) as other, pytest.raises(VersionMismatch, match=rf"3\.99.*{PYTHON}"):
        other.options(pool="left").submit(abs, -1).result(WITHIN)
