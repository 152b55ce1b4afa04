"""The receivers of a cluster's pools: made when the operator asks, on ports that the cluster lets through, shut again.

What was asked and what it came to is kept in a folder for each pool, with the keys, so that a hub that is started again
listens where the one before did, without being asked. When the folder is lost, the operator's copy of the config has
all of it but the receivers' own key, which comes from the key ring.
"""

import logging
import re
import shutil
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from blockyard.errors import ConfigError
from blockyard.private_files import write_private
from blockyard.radios import Arrival, Arrivals, RadioConfig, RadioReceiver, from_json, to_json
from blockyard.transport import KeyPair
from blockyard_monitoring.settings import RadioSettings

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MOST_NAME: Final = 253
_SERVER_KEY: Final = "radio-hub.key"
"""Where radio `zmq` looks for it in its folder."""
_FILE: Final = "asked.json"


class _Asked(msgspec.Struct, frozen=True):
    """What was asked of a pool's radio, and the complete config that it came to, both as JSON."""

    wanted: str
    radio: str


class _Listening(NamedTuple):
    asked: _Asked
    receiver: RadioReceiver | None
    port: int
    """0: none."""


class PoolRadios:
    """For one thread at a time. `server`: the key pair of receivers that have one of their own; None: each has its."""

    def __init__(self, folder: Path, bus: Arrivals, settings: RadioSettings, server: KeyPair | None = None) -> None:
        self._folder = folder
        self._bus = bus
        self._settings = settings
        self._server = server
        self._pools: dict[str, _Listening] = {}

    @property
    def pools(self) -> list[str]:
        """Those that have a radio, by name."""
        return sorted(self._pools)

    def restore(self) -> None:
        """Listen as the hub before did; what cannot be any more is left to the operator to ask for anew."""
        for path in sorted(self._folder.glob(f"*/{_FILE}")):
            pool = path.parent.name
            try:
                asked = msgspec.json.decode(path.read_bytes(), type=_Asked)
                self.listen(pool, asked.wanted, asked.radio)
            except Exception as error:  # noqa: BLE001 - a stranger's radio, or file; it harms its pool only
                _log.warning("the radio of pool %s is not restored: %s", pool, error)

    def listen(self, pool: str, wanted: str, known: str = "") -> str:
        """The complete config, as JSON, of a receiver as `wanted`; see `wire.radios.Listen`.

        Raises ConfigError, PluginError or OSError, naming what is wrong with it.
        """
        if not _NAME.fullmatch(pool) or len(pool) > _MOST_NAME:
            raise ConfigError(f"pool {pool[:80]!r} is no name of a pool")
        found = self._pools.get(pool)
        if found is not None and found.asked.wanted == wanted:
            return found.asked.radio
        radio = self._read(wanted, known)
        if found is not None:
            self.shut(pool)
        self._pools[pool] = listening = self._open(pool, wanted, radio)
        write_private(self._folder / pool / _FILE, msgspec.json.encode(listening.asked))
        _log.info("pool %s has radio %s%s", pool, radio.kind, f" on port {listening.port}" if listening.port else "")
        return listening.asked.radio

    def shut(self, pool: str) -> None:
        """Shut a pool's receiver and forget its keys; nothing happens when it has none."""
        found = self._pools.pop(pool, None)
        if found is None:
            return
        if found.receiver is not None:
            found.receiver.shutdown()
        shutil.rmtree(self._folder / pool, ignore_errors=True)
        _log.info("pool %s has no radio any more", pool)

    def close(self) -> None:
        """Shut all receivers, so that the next hub has them again."""
        pools, self._pools = self._pools, {}
        for one in pools.values():
            if one.receiver is not None:
                one.receiver.shutdown()

    def _read(self, wanted: str, known: str) -> RadioConfig:
        """What to listen as. Who may make pools may neither choose kinds nor, by what is known, bring in others."""
        asked, kinds = from_json(wanted.encode()), self._settings.kinds
        if asked.kind not in kinds:
            raise ConfigError(f"radio {asked.kind!r} is none that this hub has: {', '.join(kinds) or 'it has none'}")
        if known:
            before = from_json(known.encode())
            if before.kind == asked.kind:
                return before.again()
        return asked.again()

    def _open(self, pool: str, wanted: str, radio: RadioConfig) -> _Listening:
        folder = self._folder / pool
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not radio.has_receiver:
            return _Listening(_Asked(wanted, to_json(radio).decode()), None, 0)
        if self._server is not None:
            self._server.save(folder / _SERVER_KEY)
        port = 0
        if radio.wants_port:
            port = self._port(radio.port_used())
            radio = radio.placed(self._settings.host, port)
        receiver = radio.create_receiver(run_dir=folder, bus=_OfPool(self._bus, pool))
        return _Listening(_Asked(wanted, to_json(radio).decode()), receiver, port)

    def _port(self, before: int) -> int:
        """A port of the range that is free; the one of before if it can be."""
        first, count = self._settings.first_port, self._settings.ports
        taken = {one.port for one in self._pools.values()}
        free = [port for port in range(first, first + count) if port not in taken]
        if not free:
            raise ConfigError(
                f"all {count} ports for radios are taken (from {first}); widen the range (chart: hub.radios.ports), or "
                "give pools radio 'interchange', which needs none"
            )
        return before if before in free else free[0]


class _OfPool:
    """The bus as one pool's receiver sees it: who has this pool's key can tell of no other pool."""

    def __init__(self, bus: Arrivals, pool: str) -> None:
        self._bus = bus
        self._pool = pool

    def put(self, arrival: Arrival) -> bool:
        if all(getattr(record, "pool", self._pool) == self._pool for record in arrival.packet.records):
            return self._bus.put(msgspec.structs.replace(arrival, pool=self._pool))
        self._bus.refuse(arrival.radio, "pool")
        if arrival.on_stored is not None:
            arrival.on_stored()  # it will not get better
        return True

    def refuse(self, radio: str, reason: str) -> None:
        self._bus.refuse(radio, reason)
