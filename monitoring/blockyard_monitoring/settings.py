"""The settings of a hub process, read once from a JSON file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from blockyard import host_port
from blockyard.errors import ConfigError

DATABASE_VARIABLE: Final = "BLOCKYARD_MONITORING_DATABASE"
"""Holds the URL of the sql sink, when that is secret; it takes the place of the file's."""
TOKEN_VARIABLE: Final = "BLOCKYARD_MONITORING_STREAM_TOKEN"
"""The same for the token of the stream sink."""


class SinkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sink: its kind, and what it is made with."""

    kind: str
    settings: dict[str, Any] = {}


class RadioSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which radios pools may ask for, and where their receivers listen."""

    host: str = ""
    """By which senders reach this hub."""
    first_port: int = 0
    ports: int = 0
    """So many, from the first on, may be listened on."""
    kinds: tuple[str, ...] = ("zmq", "interchange", "udp")


class HubSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a hub finds the interchange, and what it writes to."""

    folder: str
    """State folder: keys, and where radios keep what they need."""
    interchange: str = ""
    """Endpoint of the interchange for hubs; '' for ``ipc://FOLDER/hub.sock``."""
    name: str = "default"
    """Which key ``hub-NAME`` it proves itself with."""
    keys: str = ""
    """Folder of the key ring; '' for ``FOLDER/keys``."""
    radio: str = ""
    """The radio of the pools as JSON; '' for none of the hub's own."""
    sinks: tuple[SinkSettings, ...] = ()
    operators: str = ""
    """Endpoint for those who keep pools and ask for their radios; '' for none: nothing listens then."""
    radios: RadioSettings = RadioSettings()
    """Of the pools of an operator."""
    health: str = ""
    """``HOST:PORT`` for probes: ``/livez``, ``/readyz``; '' for none."""
    parent: int = 0
    """Process whose death ends this one; 0 for none."""

    @property
    def interchange_endpoint(self) -> str:
        """Where the interchange listens for hubs."""
        return self.interchange or f"ipc://{self.folder}/hub.sock"

    @property
    def keys_folder(self) -> Path:
        """The key ring."""
        return Path(self.keys) if self.keys else Path(self.folder) / "keys"


def read(path: Path, environment: Mapping[str, str]) -> HubSettings:
    """Read a settings file. Raises ConfigError naming the file and the field."""
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=HubSettings)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"settings file {path}: {error}") from error
    if settings.health and host_port.split(settings.health) is None:
        raise ConfigError(f"settings file {path}: health={settings.health!r}; give HOST:PORT")
    radios = settings.radios
    if radios.ports and not 0 < radios.first_port <= 65_536 - radios.ports:
        raise ConfigError(
            f"settings file {path}: radios: first_port={radios.first_port}, ports={radios.ports}; no such"
        )
    secret = {"sql": ("url", DATABASE_VARIABLE), "stream": ("token", TOKEN_VARIABLE)}
    sinks = []
    for sink in settings.sinks:
        name, variable = secret.get(sink.kind, ("", ""))
        value = environment.get(variable) if variable else None
        sinks.append(msgspec.structs.replace(sink, settings={**sink.settings, name: value}) if value else sink)
    return msgspec.structs.replace(settings, sinks=tuple(sinks))
