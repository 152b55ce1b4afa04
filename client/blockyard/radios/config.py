"""The port of a radio: its config, its receiver, its senders, and the order in which they come to be.

What a radio's author writes is `RadioConfig.open_receiver` and `open_sender`; the order of things, and the words for
breaking it, are here. Which records travel is `wire.monitoring`'s matter, what becomes of them the hub's.
"""

import enum
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import msgspec

from blockyard import plugins
from blockyard.errors import BlockyardError, ConfigError
from blockyard.plugins import PluginError
from blockyard.wire import codec
from blockyard.wire.monitoring import MAX_NAME, VERSION, AnyPacket, AnyRecord, Packet, clipped, micros


class RadioMisuse(BlockyardError, RuntimeError):
    """A radio's steps were taken out of order; the message names the step, the stage, and what may come now."""


class Stage(enum.StrEnum):
    """How far a config has come; it travels with it."""

    MADE = "made"
    """Nobody listens yet."""
    READY = "ready"
    """A receiver listens, so senders may be made."""
    SHUT = "shut"
    """The receiver was shut down."""


class Arrival(msgspec.Struct, frozen=True, eq=False):
    """A packet as a receiver hands it to the bus."""

    packet: AnyPacket
    radio: str
    arrived_us: int
    on_stored: Callable[[], None] | None = None
    """Called once, from any thread, when all sinks that must not miss it have stored it. None: nobody waits for it."""
    pool: str = ""
    """The only pool that its sender's key can tell of; '': the key does not say."""


class Arrivals(Protocol):
    """What a receiver sees of the bus."""

    def put(self, arrival: Arrival) -> bool:
        """Hand over a packet; False when there is no room for it, and the receiver still has to see to it.

        Never waits. What nobody waits for is dropped and counted when there is no room, and True returned.
        """
        ...

    def refuse(self, radio: str, reason: str) -> None:
        """Count a message that was none; `reason` is one word of few: ``forged``, ``malformed``, ``replayed`` …"""
        ...


class RadioReceiver(Protocol):
    """The hub's end. It puts what arrives on the bus and does nothing else with it."""

    def shutdown(self) -> None:
        """Take in what has arrived, then stop listening and free ports, files and threads; idempotent."""
        ...


class Wire(Protocol):
    """What a radio's author writes of a sender: how bytes leave."""

    def transmit(self, number: int, packet: bytes) -> bool:
        """Send one encoded packet, which has this number, without waiting for long; False when it is lost."""
        ...

    def close(self) -> None:
        """Send what is buffered, within a bound, and free everything; called once."""
        ...


class RadioSender:
    """A source's end: numbers its messages. For one thread at a time; `send` may be called by several."""

    def __init__(self, wire: Wire, source: str) -> None:
        """`source`: role and name, for example ``manager:3fa9``; the incarnation is added here."""
        self._wire = wire
        self._source = clipped(f"{source}:{os.getpid()}-{secrets.token_hex(4)}", MAX_NAME)
        self._number = 0
        self._lock = threading.Lock()
        self._is_closed = False
        self.failed = 0
        """Messages that could not be sent."""

    @property
    def source(self) -> str:
        """Under which its messages go."""
        return self._source

    def send(self, records: Sequence[AnyRecord], *, at: float) -> bool:
        """Send records as one message, at UTC seconds `at`; False when it could not be sent, which costs a number, too.

        Raises RadioMisuse after `close`.
        """
        with self._lock:
            if self._is_closed:
                raise RadioMisuse(f"send: the sender of {self._source} is closed; make another with create_sender")
            self._number += 1
            packet = Packet(VERSION, self._source, self._number, micros(at), list(records))
            is_sent = self._wire.transmit(self._number, codec.encode(packet))
            self.failed += not is_sent
            return is_sent

    def close(self) -> None:
        """Send what is left and let go of everything; idempotent."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._wire.close()


class RadioConfig(msgspec.Struct, kw_only=True):
    """Settings of one radio, good for one receiver. Plain values only: it travels as pickle and as JSON."""

    kind: ClassVar[str] = ""
    """Its name among the plug-ins of group ``blockyard.radios``."""
    has_receiver: ClassVar[bool] = True
    """False: its senders deliver to somewhere that needs no receiver of ours."""
    wants_port: ClassVar[bool] = False
    """Its receiver listens on a port, which a cluster must let through: `placed` and `port_used` are there."""
    secrets: ClassVar[frozenset[str]] = frozenset()
    """Fields that are never shown."""

    stage: Stage = Stage.MADE

    def create_receiver(self, *, run_dir: Path, bus: Arrivals) -> RadioReceiver:
        """Begin to listen. `run_dir`: a folder of this run's, for sockets and files. May complete the config.

        Raises RadioMisuse when there is, was, or never will be a receiver; ConfigError or OSError when it can't be.
        """
        if not self.has_receiver:
            raise RadioMisuse(f"create_receiver: radio {self.kind!r} has none; go on with create_sender")
        if self.stage is not Stage.MADE:
            raise RadioMisuse(
                f"create_receiver: this config of radio {self.kind!r} is {self.stage}, it had its receiver; "
                "a config is good for one, make a new one"
            )
        receiver = self.open_receiver(run_dir, bus)
        self.stage = Stage.READY
        return _Shutting(self, receiver)

    def again(self) -> Self:
        """A fresh config that listens where this one did, so that its senders are heard by a hub started again."""
        return msgspec.structs.replace(self, stage=Stage.MADE)

    def kept_in(self, file: Path) -> Self:
        """This config, read from `file`, which may come to hold another one while senders live; they may look there."""
        return self

    def placed(self, host: str, port: int) -> Self:
        """For authors of radios that want a port: this config, for a receiver on `port` of all of its machine's
        addresses, which senders reach as `host`."""
        raise NotImplementedError(f"radio {self.kind!r} wants no port")

    def port_used(self) -> int:
        """For authors of the same: the port that the receiver listens on; 0 before it does."""
        raise NotImplementedError(f"radio {self.kind!r} wants no port")

    def create_sender(self, source: str) -> RadioSender:
        """Make a sender, in whatever process this config has come to.

        Raises RadioMisuse when nobody listens yet or any more; ConfigError or OSError when it can't be.
        """
        if self.has_receiver and self.stage is not Stage.READY:
            hint = "call create_receiver first" if self.stage is Stage.MADE else "its receiver was shut down"
            raise RadioMisuse(f"create_sender: this config of radio {self.kind!r} is {self.stage}: {hint}")
        return RadioSender(self.open_sender(source), source)

    def open_receiver(self, run_dir: Path, bus: Arrivals) -> RadioReceiver:
        """For authors: listen, and write into this config what senders must know."""
        raise NotImplementedError(f"radio {self.kind!r} has no receiver")

    def open_sender(self, source: str) -> Wire:
        """For authors: the way out."""
        raise NotImplementedError(f"radio {self.kind!r} has no sender")

    def __repr__(self) -> str:
        shown = (
            f"{name}={'…' if name in self.secrets else repr(getattr(self, name))}" for name in self.__struct_fields__
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class _Shutting:
    """A receiver whose end its config hears of."""

    def __init__(self, config: RadioConfig, receiver: RadioReceiver) -> None:
        self._config = config
        self._receiver = receiver

    def shutdown(self) -> None:
        if self._config.stage is not Stage.SHUT:
            self._config.stage = Stage.SHUT
            self._receiver.shutdown()


class _Named(msgspec.Struct, frozen=True):
    """A config as JSON."""

    kind: str
    settings: msgspec.Raw


def to_json(config: RadioConfig) -> bytes:
    """A config as JSON, secrets included."""
    return msgspec.json.encode(_Named(config.kind, msgspec.Raw(msgspec.json.encode(config))))


def from_json(text: bytes) -> RadioConfig:
    """Read what `to_json` wrote, or a person: ``{"kind": "udp", "settings": {}}``.

    Raises ConfigError naming the radio and the field, PluginError when there is no such radio.
    """
    try:
        named = msgspec.json.decode(text, type=_Named)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"radio: {error}; expected {{'kind': …, 'settings': {{…}}}}") from error
    kind = class_of(named.kind)
    try:
        return msgspec.json.decode(named.settings, type=kind)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"radio {named.kind!r}: {error}") from error


def class_of(kind: str) -> type[RadioConfig]:
    """The config class of a radio by name. Raises PluginError when there is none, ConfigError for something else."""
    found = plugins.load(plugins.RADIOS, kind)
    if not isinstance(found, type) or not issubclass(found, RadioConfig) or found.kind != kind:
        raise ConfigError(f"plug-in {kind!r} of group {plugins.RADIOS!r}: {found!r} is no RadioConfig of kind {kind!r}")
    return found


def receiver_class(kind: str) -> Any:
    """The receiver that comes with `blockyard_monitoring` for a radio of ours.

    Raises ConfigError with the pip line when that cannot be imported.
    """
    try:
        return plugins.load(plugins.RECEIVERS, kind)
    except PluginError as error:
        if "blockyard_monitoring" not in str(error.__cause__):
            raise
        raise ConfigError(f"radio {kind!r}: its receiver is in blockyard_monitoring: {error}") from error
