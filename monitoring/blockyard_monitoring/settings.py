"""The settings of a hub process, read once from a JSON file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from blockyard.errors import ConfigError

DATABASE_VARIABLE: Final = "BLOCKYARD_MONITORING_DATABASE"
"""Holds the URL of the sql sink, when that is secret; it takes the place of the file's."""


class SinkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sink: its kind, and what it is made with."""

    kind: str
    settings: dict[str, Any] = {}


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
    url = environment.get(DATABASE_VARIABLE)
    if not url:
        return settings
    sinks = tuple(
        msgspec.structs.replace(sink, settings={**sink.settings, "url": url}) if sink.kind == "sql" else sink
        for sink in settings.sinks
    )
    return msgspec.structs.replace(settings, sinks=sinks)
