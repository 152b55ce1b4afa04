"""The settings of an interchange process, read once from a JSON file."""

from pathlib import Path

import msgspec

from blockyard.errors import ConfigError
from blockyard_interchange.core.settings import PoolSettings, Settings


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
    core: Settings = msgspec.field(default_factory=Settings)
    parent: int = 0
    """Process whose death ends this one; 0 for none."""

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


def read(path: Path) -> ProcessSettings:
    """Read a settings file.

    Raises ConfigError naming the file and the field.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=ProcessSettings)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"settings file {path}: {error}") from error


__all__ = ["PoolSettings", "ProcessSettings", "Settings", "read"]
