"""``python -m blockyard_monitoring SETTINGS.json``: be a hub until SIGTERM or SIGINT.

Exit codes: 0 stopped as asked, 1 to be started again, as when a disk is full, 2 bad settings, 5 a radio cannot listen.
"""

import contextlib
import errno
import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from blockyard import host_port
from blockyard.blocks.deathsig import bind_to_parent
from blockyard.errors import BadKey, ConfigError
from blockyard.keyring import KeyRing
from blockyard.plugins import PluginError
from blockyard.private_files import write_private
from blockyard.probes import Probes, Verdict
from blockyard.radios import RadioConfig, from_json, to_json
from blockyard.transport import KeyPair, descriptors, read_public_key
from blockyard_monitoring import settings as settings_of
from blockyard_monitoring.hub import Hub
from blockyard_monitoring.link import LinkSettings
from blockyard_monitoring.operator_door import OperatorDoor
from blockyard_monitoring.pool_radios import PoolRadios
from blockyard_monitoring.settings import HubSettings

_log = logging.getLogger("blockyard_monitoring")

RADIO_FILE = "radio.json"
"""In the state folder: the pools' radio as its receiver completed it."""


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s hub %(levelname)s %(message)s")
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m blockyard_monitoring SETTINGS.json\n")
        return 2
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        settings = settings_of.read(Path(arguments[0]), os.environ)
        if settings.parent:
            bind_to_parent(settings.parent)
        descriptors.allow_all()
        serve(settings, ending)
    except (ConfigError, PluginError, BadKey) as error:
        _log.error("%s", error)
        return 2
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _log.error("cannot write to %s: %s; free space on that disk", arguments[0], error)
            return 1
        _log.error("cannot listen: %s", error)
        return 5
    return 0


def serve(settings: HubSettings, ending: threading.Event) -> None:
    """Be a hub until `ending` is set."""
    folder = Path(settings.folder)
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)  # what waits has no cycles; looking for some in it was a quarter of the work
    hub = Hub(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(hub.stop)
        for sink in settings.sinks:
            hub.add_sink(sink.kind, sink.settings)
        if settings.radio:
            radio = hub.listen(_radio(folder, settings.radio))
            write_private(folder / RADIO_FILE, to_json(radio))  # for whoever starts managers; it may hold keys
        keys = KeyRing(settings.keys_folder)
        door = _door(settings, hub, keys, stack) if settings.operators else None
        server = read_public_key(keys.path("hubs"))
        hub.follow(LinkSettings(settings.interchange_endpoint, server, keys.issue(f"hub-{settings.name}")))
        if (address := host_port.split(settings.health)) is not None:
            stack.callback(_probes(address, hub, door).close)
        _log.info("hub ready: sinks %s", ", ".join(runner.label for runner in hub.runners) or "none")
        ending.wait()


def _door(settings: HubSettings, hub: Hub, keys: KeyRing, stack: contextlib.ExitStack) -> OperatorDoor:
    """Let operators in, and listen for pools as the hub before did."""
    server = KeyPair.load(keys.path("radios")) if keys.path("radios").exists() else None
    pools = PoolRadios(Path(settings.folder) / "radios", hub.bus, settings.radios, server)
    stack.callback(pools.close)
    pools.restore()
    door = OperatorDoor(settings.operators, keys.interchange("operators"), keys, pools)
    door.start()
    stack.callback(door.end)
    return door


def _probes(address: tuple[str, int], hub: Hub, door: OperatorDoor | None) -> Probes:
    """Alive is a hub all of whose threads are; a sink's database that is away is no reason to start it again."""

    def verdict() -> Verdict:
        fault = hub.fault() or ("" if door is None or door.is_alive() else "the door for operators has ended")
        return not fault, fault or "it serves"

    made = Probes({"/livez": verdict, "/readyz": verdict}, *address)
    made.start()
    return made


def _radio(folder: Path, settings: str) -> RadioConfig:
    """The radio; if a hub of this folder had it before, so that the senders of then are heard."""
    try:
        return from_json((folder / RADIO_FILE).read_bytes()).again()
    except FileNotFoundError:
        return from_json(settings.encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
