"""Every radio that comes with Blockyard, by the suite that those of others must pass."""

import pickle
import time
from pathlib import Path

import pytest

from blockyard import plugins
from blockyard.errors import ConfigError
from blockyard.radios import (
    FilesystemRadio,
    InterchangeRadio,
    RadioConfig,
    RadioMisuse,
    Stage,
    ThreadRadio,
    UdpRadio,
    ZmqRadio,
    from_json,
    to_json,
)
from blockyard.radios.interchange import Outbox
from blockyard.radios.suites import AT, WITHIN, CollectingBus, Make, RadioSuite, a_file
from blockyard.wire.monitoring import Event

OURS = (FilesystemRadio, InterchangeRadio, ThreadRadio, UdpRadio, ZmqRadio)


class TestThreadRadio(RadioSuite):
    crosses_processes = False
    is_reliable = False  # the bus says no, and so does send
    is_for_workers = False

    @pytest.fixture
    def make(self) -> Make:
        return ThreadRadio


class TestZmqRadio(RadioSuite):
    @pytest.fixture
    def make(self) -> Make:
        return ZmqRadio


class TestUdpRadio(RadioSuite):
    is_reliable = False

    @pytest.fixture
    def make(self) -> Make:
        return UdpRadio


class TestFilesystemRadio(RadioSuite):
    @pytest.fixture
    def make(self) -> Make:
        return lambda: FilesystemRadio(scan_seconds=0.2)


def test_every_radio_of_ours_is_registered_and_tested() -> None:
    assert {one.kind for one in OURS} == set(plugins.registered(plugins.RADIOS))
    tested = {name.removeprefix("Test") for name in globals() if name.startswith("Test")}
    assert tested == {one.__name__ for one in OURS if one is not InterchangeRadio}


@pytest.mark.parametrize("kind", OURS, ids=lambda one: one.kind)
def test_a_config_travels_as_pickle_with_its_stage(kind: type[RadioConfig], tmp_path: Path) -> None:
    config = kind()
    receiver = config.create_receiver(run_dir=tmp_path, bus=CollectingBus())
    try:
        copied = pickle.loads(pickle.dumps(config))
        assert copied == config
        assert copied.stage is Stage.READY
    finally:
        receiver.shutdown()


def test_the_interchange_radio_gives_its_messages_to_the_manager(tmp_path: Path) -> None:
    config = InterchangeRadio()
    with pytest.raises(RadioMisuse, match="create_receiver first"):
        config.create_sender("manager:1")
    config.create_receiver(run_dir=tmp_path, bus=CollectingBus())
    outbox = config.open_sender("manager:1")
    assert isinstance(outbox, Outbox)
    assert outbox.transmit(1, b"one")
    assert outbox.take() == [b"one"]
    assert outbox.take() == []
    outbox.close()
    with pytest.raises(RadioMisuse):
        outbox.transmit(2, b"two")


@pytest.mark.parametrize(
    "text, sentence",
    [
        (b"{}", "radio"),
        (b'{"kind": "udp", "settings": {"port": "x"}}', "port"),
        (b'{"kind": "pigeon", "settings": {}}', "pigeon"),
    ],
)
def test_a_bad_config_is_refused_by_name(text: bytes, sentence: str) -> None:
    with pytest.raises((ConfigError, plugins.PluginError), match=sentence):
        from_json(text)


@pytest.mark.parametrize("fields", [{"algorithm": "md5"}, {"datagram_bytes": 10}, {"key": "xyz"}, {"key": "00"}])
def test_a_udp_radio_with_nonsense_does_not_listen(fields: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(fields))):
        UdpRadio(**fields).create_receiver(run_dir=tmp_path, bus=CollectingBus())  # type: ignore[arg-type]


def test_zmq_messages_survive_a_hub_that_is_away(tmp_path: Path) -> None:
    """The same keys and port again, as a hub has them that was started again."""
    from blockyard.transport import KeyPair
    from blockyard_monitoring.radios.zmq import ZmqReceiver

    server, keys = KeyPair.new(), KeyPair.new()
    first_bus, second_bus = CollectingBus(), CollectingBus()
    first = ZmqReceiver("tcp://127.0.0.1:*", server, keys.public, first_bus)
    config = ZmqRadio(
        stage=Stage.READY, address=first.endpoint, server_public=server.public.decode(),
        sender_public=keys.public.decode(), sender_secret=keys.secret.decode(),
    )  # fmt: skip
    sender = config.create_sender("manager:1")
    sender.send([a_file(1)], at=AT)
    first_bus.wait(lambda: bool(first_bus.arrivals), "a message")
    first.shutdown()
    assert sender.send([a_file(2)], at=AT)
    second = ZmqReceiver(first.endpoint, server, keys.public, second_bus)
    second_bus.wait(lambda: a_file(2) in second_bus.records(), "what was sent while the hub was away")
    sender.close()
    second.shutdown()


def test_zmq_messages_reach_a_hub_that_has_other_keys_by_now(tmp_path: Path) -> None:
    """And that listens elsewhere: the file that the config came from says so, later than the hub is there."""
    file, first_bus, second_bus = tmp_path / "radio.json", CollectingBus(), CollectingBus()
    configs = [ZmqRadio(), ZmqRadio()]
    first = configs[0].create_receiver(run_dir=tmp_path / "first", bus=first_bus)
    file.write_bytes(to_json(configs[0]))
    sender = from_json(file.read_bytes()).kept_in(file).create_sender("manager:1")
    sender.send([a_file(1)], at=AT)
    first_bus.wait(lambda: bool(first_bus.arrivals), "a message")
    first.shutdown()
    assert sender.send([a_file(2)], at=AT)
    second = configs[1].create_receiver(run_dir=tmp_path / "second", bus=second_bus)
    assert configs[0].server_public != configs[1].server_public
    file.write_bytes(b"half of")
    assert sender.send([a_file(3)], at=AT)
    file.write_bytes(to_json(configs[1]))
    second_bus.wait(lambda: {a_file(2), a_file(3)} <= set(second_bus.records()), "what was sent meanwhile")
    sender.close()
    second.shutdown()


def test_zmq_lets_in_nobody_without_the_key(tmp_path: Path) -> None:
    from blockyard.transport import KeyPair

    config, bus = ZmqRadio(), CollectingBus()
    receiver = config.create_receiver(run_dir=tmp_path, bus=bus)
    stranger = KeyPair.new()
    config.sender_public, config.sender_secret = stranger.public.decode(), stranger.secret.decode()
    sender = config.create_sender("manager:1").send
    sender([a_file(1)], at=AT)
    bus.wait(lambda: bus.refused["key"] > 0, "a refusal")
    assert bus.arrivals == []
    receiver.shutdown()


def test_a_file_that_is_none_is_put_aside_and_the_rest_taken_in(tmp_path: Path) -> None:
    config, bus = FilesystemRadio(scan_seconds=0.1), CollectingBus()
    receiver = config.create_receiver(run_dir=tmp_path, bus=bus)
    folder = Path(config.folder)
    (folder / "draft" / "bad").write_bytes(b"BYM1\0\0\0\xffnot so long")
    (folder / "draft" / "bad").rename(folder / "new" / "bad")
    sender = config.create_sender("manager:1")
    sender.send([a_file(1)], at=AT)
    bus.wait(lambda: a_file(1) in bus.records(), "a good file beside a bad one")
    bus.wait(lambda: bus.refused["malformed"] == 1, "the bad one counted")
    sender.close()
    receiver.shutdown()
    assert [path.name for path in (folder / "bad").iterdir()] == ["bad"]
    assert list((folder / "new").iterdir()) == []


def test_files_that_nobody_takes_in_are_bounded_and_go_on_when_somebody_does(tmp_path: Path) -> None:
    most, bus = 1 << 20, CollectingBus()
    config = FilesystemRadio(scan_seconds=0.1, most_bytes=most)
    config.create_receiver(run_dir=tmp_path, bus=CollectingBus()).shutdown()
    config.stage = Stage.READY  # as its senders have it, whose hub is away
    sender, large = config.create_sender("manager:1"), [Event(number, "k", "s", "x" * 4000) for number in range(250)]
    sent = 0
    while sender.send(large, at=AT):
        sent += 1
        assert sent < 100, "what is kept is bounded"
    deadline = time.monotonic() + WITHIN
    while (written := _written(config)) < most and time.monotonic() < deadline:
        time.sleep(0.05)
    assert most <= written <= most + (34 << 20), "a file holds no more than was gathered"
    receiver = config.again().create_receiver(run_dir=tmp_path, bus=bus)
    bus.wait(lambda: len(bus.arrivals) >= sent, "all that was sent", within=60.0)
    sender.close()
    receiver.shutdown()
    assert len(bus.arrivals) == sent


def _written(config: FilesystemRadio) -> int:
    return sum(path.stat().st_size for path in (Path(config.folder) / "new").iterdir())
