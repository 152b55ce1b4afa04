"""Frames of every message type: there and back again, and mutated ones against a running core.

A mutated frame is either refused (`BadFrame`) or some other well-formed message. The first costs nothing; the second
must harm nothing but its sender: all invariants hold, and another client's task is run to its end.
"""

import random
import typing
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from blockyard.errors import BadFrame
from blockyard.wire import client as client_wire
from blockyard.wire import codec, control
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Assigned, Calls, Failure, Group, Lease, Need, Outcome, Part, Printed, Running, Status
from blockyard_interchange.core import invariants, reactor
from blockyard_interchange.core.settings import PoolSettings
from tests.machine import Size
from tests.unit.interchange.builders import PYTHON, Bench, a_function, a_spec, done

MUTATIONS = {Size.SMALL: 100_000, Size.FULL: 1_000_000}
CORE_MUTATIONS = {Size.SMALL: 100_000, Size.FULL: 500_000}

DIRECTIONS: dict[str, tuple[codec.Decoder[Any], Any]] = {
    "from a client": (codec.from_client, client_wire.FromClient),
    "to a client": (codec.to_client, client_wire.ToClient),
    "from a manager": (codec.from_manager, manager_wire.FromManager),
    "to a manager": (codec.to_manager, manager_wire.ToManager),
}
TYPES = [(name, kind) for name, (_, union) in DIRECTIONS.items() for kind in typing.get_args(union)]


def anything(kind: Any, chance: random.Random, depth: int = 0) -> Any:  # noqa: C901 - one case a type
    """A random value of a type of the wire."""
    match kind:
        case inspect.IntType():
            return chance.choice((0, 1, 127, 128, 65_536, 2**31, 2**63 - 1, chance.getrandbits(40)))
        case inspect.FloatType():
            return chance.choice((0.0, -1.5, 1e300, 0.1))
        case inspect.StrType():
            return chance.choice(("", "a", "ünïcode", "x" * 40))
        case inspect.BytesType():
            return chance.randbytes(chance.choice((0, 1, 16, 300)))
        case inspect.BoolType():
            return chance.random() < 0.5
        case inspect.NoneType():
            return None
        case inspect.RawType():
            return msgspec.Raw(msgspec.msgpack.encode([1, "raw"]))
        case inspect.EnumType(cls):
            return chance.choice(list(cls))
        case inspect.ListType(item):
            return [anything(item, chance, depth + 1) for _ in range(chance.choice((0, 1, 3)) if depth < 6 else 0)]
        case inspect.VarTupleType(item):
            return tuple(anything(item, chance, depth + 1) for _ in range(chance.choice((0, 2))))
        case inspect.UnionType(types):
            simple = [one for one in types if not isinstance(one, inspect.StructType)]
            return anything(chance.choice(simple if simple and depth > 4 else list(types)), chance, depth + 1)
        case inspect.StructType(cls, fields):
            return cls(**{field.name: anything(field.type, chance, depth + 1) for field in fields})
    raise TypeError(f"{kind} is not of the wire")


@pytest.mark.parametrize("direction, kind", TYPES, ids=lambda one: getattr(one, "__name__", str(one)))
def test_a_message_comes_back_as_it_was(direction: str, kind: type[msgspec.Struct]) -> None:
    decoder, chance = DIRECTIONS[direction][0], random.Random(kind.__name__)
    shape = inspect.type_info(kind)
    for _ in range(200):
        message = anything(shape, chance)
        frame = codec.encode(message)
        again = decoder.decode(frame)
        assert type(again) is kind
        assert again == message
        assert codec.encode(again) == frame


def samples() -> dict[str, list[Any]]:
    """Messages of every type, such as are really sent."""
    function, spec = a_function(), a_spec()
    calls = Calls([Group(spec, 0, [b"child"])], [function])
    outcome = Outcome(1 << 32, 1 << 20, Status.JOIN, b"", 0.5, Failure("why", ["a.B"], "seen"), calls)
    need, part = Need(1 << 32, b"x"), Part(0, 2, 0, 1, 2, ["a", "b"])
    group = Group(spec, 5, [b"body", b"other"], [[1 << 32], []], ["key", ""], [need])
    question = msgspec.Raw(msgspec.msgpack.encode(control.CancelTasks([1 << 32])))
    return {
        "from a client": [
            client_wire.Hello(1, 7, b"t" * 16, "run", PYTHON), client_wire.Register([function]),
            client_wire.Submit(9, [group]), client_wire.Cancel([1 << 32]), client_wire.Collect(1, [1 << 32]),
            client_wire.Reattach(3), client_wire.Ping(), client_wire.Bye(True), client_wire.Ask(4, question),
            client_wire.Put(10, 11, b"value"),
        ],
        "to a client": [
            client_wire.Welcome(1, "run", True, [client_wire.Pool("default", (PYTHON,))], 1.0, 10, 10),
            client_wire.Accepted(3), client_wire.Outcomes([outcome]), client_wire.Refused(3, "pool", "why"),
            client_wire.WhoAreYou(), client_wire.Pong(), client_wire.Credit(1, 2), client_wire.TakenOver("why"),
            client_wire.Attached(1, [1 << 32], ["name"]), client_wire.Reply(4, question), client_wire.Started([1]),
        ],
        "from a manager": [
            manager_wire.Join(1, "m9", "default", "b", "n", PYTHON, 1, 1.0, 0, 0, holds=[Lease(1 << 32, 1 << 20)]),
            manager_wire.Outcomes(5, [outcome, done(Assigned(1 << 32, 1 << 20, b""))]),
            manager_wire.Returned([Lease(1 << 32, 1 << 20)]),
            manager_wire.Heartbeat(1, 0, 0, running=[Running(1 << 32, 1 << 20, 0.5)]),
            manager_wire.Leave("why"), manager_wire.Wanted([function.id]), manager_wire.Shown(1, [Printed(1, "seen")]),
            manager_wire.Told([b"packet"]), manager_wire.Held(1, 2, "why"),
        ],
        "to a manager": [
            manager_wire.Joined(1, 1.0), manager_wire.Functions([function]), manager_wire.Recorded(1),
            manager_wire.Assign([manager_wire.AssignGroup(spec, [Assigned(1, 2, b"x", [need], part)])]),
            manager_wire.Retract(1), manager_wire.Stop([Lease(1, 2)]), manager_wire.Drain(1.0),
            manager_wire.NotJoined(), manager_wire.Refused("kind", "why"), manager_wire.Beat(), manager_wire.Show(1, 2),
            manager_wire.Hold(1, 1 << 32, 2, True),
        ],
    }  # fmt: skip


def mutated(frame: bytes, random: random.Random) -> bytes:
    """A frame with bytes changed, dropped, added or repeated."""
    data = bytearray(frame)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at = random.randrange(len(data) + 1)
        match random.randrange(6):
            case 0 if data:
                data[at % len(data)] ^= 1 << random.randrange(8)
            case 1 if data:
                data[at % len(data)] = random.choice((0x00, 0x7F, 0x80, 0xC0, 0xCF, 0xDC, 0xDD, 0xDF, 0xFF))
            case 2:
                del data[at : at + random.randrange(1, 9)]
            case 3:
                data[at:at] = random.randbytes(random.randrange(1, 9))
            case 4:
                data[at:at] = data[at : at + random.randrange(1, 30)]
            case _:
                del data[at:]
    return bytes(data)


def test_every_message_type_has_a_sample() -> None:
    for name, (_, union) in DIRECTIONS.items():
        assert {type(one) for one in samples()[name]} == set(typing.get_args(union))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_mutated_frame_is_refused_or_well_formed(size: Size) -> None:
    chance = random.Random(20260729)
    found = [(DIRECTIONS[name][0], codec.encode(one)) for name, ones in samples().items() for one in ones]
    refused = 0
    for number in range(MUTATIONS[size]):
        decoder, frame = found[number % len(found)]
        mutant = mutated(frame, chance)
        try:
            message = decoder.decode(mutant)
        except BadFrame:
            refused += 1
        else:
            codec.encode(message)
    assert refused > MUTATIONS[size] // 3, "hardly any mutation did anything"


def test_a_frame_of_a_hundred_thousand_levels_is_refused() -> None:
    deep = codec.encode(client_wire.Put(1, 2, b""))[:-2] + b"\x92\x02\x91" * 100_000
    with pytest.raises(BadFrame):
        codec.from_client.decode(deep)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_mutated_messages_harm_nobody_else(size: Size) -> None:
    chance = random.Random(20260730)
    bench = Bench(pools={"default": PoolSettings(workers=2, nodes_per_block=2), "other": PoolSettings()})
    honest, worker = bench.client(1), bench.manager("honest", pool="other")
    bench.client(7)
    bad = bench.manager("m9", workers=2)
    frames = {name: [codec.encode(one) for one in samples()[f"from a {name}"]] for name in ("client", "manager")}
    accepted = 0
    for number in range(CORE_MUTATIONS[size]):
        bench.now += 0.001
        kind = chance.choice(("client", "manager"))
        mutant = mutated(chance.choice(frames[kind]), chance)
        try:
            if kind == "client":
                message = codec.from_client.decode(mutant)
                reactor.from_client(bench.state, b"client-7", "client:me", message, bench.now, near=False)
            else:
                order = codec.from_manager.decode(mutant)
                reactor.from_manager(bench.state, b"m9", "pool:default", order, bench.now, near=False)
        except BadFrame:
            continue
        accepted += 1
        if number % 50 == 0:
            honest.say(client_wire.Ping())
            worker.beat()
            bench.turn()
            for peer in bench.peers.values():
                peer.inbox.clear() if peer is not worker else None
    assert accepted > CORE_MUTATIONS[size] // 20
    invariants.check(bench.state)
    honest.say(honest.hello)
    honest.outcomes()
    (task,) = honest.call(a_spec(pool="other"))
    worker.say(worker.join)
    for _ in range(100):
        bench.turn(0.05)
        worker.beat()
        for one in worker.assigned():
            worker.report(done(one, b"well"))
    bench.turn()
    assert [outcome.body for outcome in honest.outcomes() if outcome.task == task] == [b"well"]
    bench.restart()
    assert bad.name == "m9"
