"""The settings of an interchange process, read once from a JSON file, and from the environment what is secret."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from blockyard import host_port
from blockyard.errors import ConfigError
from blockyard_interchange.core.settings import PoolSettings, Settings, nonsense

JOURNAL_VARIABLE: Final = "BLOCKYARD_INTERCHANGE_JOURNAL"
"""Holds the journal's URL, when that is secret; it takes the place of the file's."""


class ProcessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an interchange keeps its things and where it listens."""

    folder: str
    """State folder: keys, lock, journal."""
    journal: str = ""
    """URL of the journal; '' for ``sqlite:///FOLDER/journal.db``."""
    clients: str = ""
    """Endpoint for clients; '' for ``ipc://FOLDER/clients.sock``."""
    managers: str = ""
    """Endpoint for managers; '' for ``ipc://FOLDER/managers.sock``."""
    metrics: str = ""
    """``HOST:PORT`` for Prometheus; '' for none: nothing listens then."""
    hub: str = ""
    """Endpoint for the hub, when `core.monitoring` is set; '' for ``ipc://FOLDER/hub.sock``."""
    core: Settings = msgspec.field(default_factory=Settings)
    parent: int = 0
    """Process whose death ends this one; 0 for none."""
    keys: str = ""
    """Folder of the key ring; '' for ``FOLDER/keys``. It may be read-only when all keys are there."""
    health: str = ""
    """``HOST:PORT`` for probes, see `health`; '' for none: nothing listens then."""
    wait_for_journal: float = 0.0
    """Seconds to wait, at the start, for a journal that is away, or that one which was cut off or just ended holds."""
    rotate_after: float = 120.0
    """Seconds until another `clients.key` or `managers.key` in the key ring is used, which ends all connections of that
    side; managers and clients have to learn of it meanwhile. Nodes show a changed Secret within 90 s."""

    @property
    def journal_url(self) -> str:
        """The journal's URL."""
        return self.journal or f"sqlite:///{self.folder}/journal.db"

    @property
    def clients_endpoint(self) -> str:
        """Where clients connect."""
        return self.clients or f"ipc://{self.folder}/clients.sock"

    @property
    def managers_endpoint(self) -> str:
        """Where managers connect."""
        return self.managers or f"ipc://{self.folder}/managers.sock"

    @property
    def hub_endpoint(self) -> str:
        """Where the hub connects; '' when there is no monitoring: nothing listens then."""
        return (self.hub or f"ipc://{self.folder}/hub.sock") if self.core.monitoring else ""

    @property
    def keys_folder(self) -> Path:
        """The key ring."""
        return Path(self.keys) if self.keys else Path(self.folder) / "keys"


def read(path: Path, environment: Mapping[str, str]) -> ProcessSettings:
    """Read a settings file, and the journal's URL from the environment when it is there.

    Raises ConfigError naming the file and the field, never a value that may be secret.
    """
    try:
        settings = msgspec.json.decode(path.read_bytes(), type=ProcessSettings)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"settings file {path}: {error}") from error
    if not 0.0 < settings.core.heartbeat < math.inf:
        raise ConfigError(f"settings file {path}: core.heartbeat={settings.core.heartbeat}; seconds above 0")
    for name, pool in settings.core.pools.items():
        sentence = nonsense(pool)
        if sentence:
            raise ConfigError(f"settings file {path}: core.pools.{name}: {sentence}")
    if not 0.0 <= settings.wait_for_journal < math.inf:
        raise ConfigError(f"settings file {path}: wait_for_journal={settings.wait_for_journal}; seconds from 0")
    if not 0.0 <= settings.rotate_after < math.inf:
        raise ConfigError(f"settings file {path}: rotate_after={settings.rotate_after}; seconds from 0")
    for field in ("metrics", "health"):
        address(field, getattr(settings, field), path)
    journal = environment.get(JOURNAL_VARIABLE)
    return msgspec.structs.replace(settings, journal=journal) if journal else settings


def address(field: str, value: str, path: Path | None = None) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``; ('', 0) when it is ''. An IPv6 address stands in brackets.

    Raises ConfigError naming the field.
    """
    if not value:
        return "", 0
    found = host_port.split(value)
    if found is None:
        where = f"settings file {path}: " if path is not None else ""
        raise ConfigError(f"{where}{field}={value!r}: give HOST:PORT, for example 127.0.0.1:9300")
    return found


__all__ = ["PoolSettings", "ProcessSettings", "Settings", "address", "read"]
