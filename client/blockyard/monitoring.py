"""What a user says about monitoring: which radio, which sinks. Without it nothing is told, and nothing listens.

Only plain settings are here; the hub that they are for is another process, see `hub_process`.
"""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from blockyard.errors import ConfigError, NotInstalled
from blockyard.private_files import write_private
from blockyard.radios import InterchangeRadio, RadioConfig, to_json
from blockyard.state_folder import HUB_SETTINGS, STREAM_SOCKET, ensure_folder, state_home

_NEEDED: Final = ("blockyard_monitoring", "sqlalchemy", "alembic")


class Sink(msgspec.Struct, frozen=True):
    """One destination: its kind (``sql``, ``prometheus``, ``stream``, ``jsonl``, or a plug-in's), and its settings."""

    kind: str
    settings: dict[str, Any] = {}


class Monitoring(msgspec.Struct, frozen=True, kw_only=True):
    """Monitoring of one system. Raises ConfigError naming the field, or the package that is not installed."""

    database: str = ""
    """``postgresql://…`` or ``sqlite:////path/file.db``. '': a SQLite file, ``monitoring.db`` in the state folder of a
    named run, for others in ``~/.local/state/blockyard``. ``none``: no sql sink."""
    sinks: tuple[Sink, ...] = ()
    """Besides the database."""
    radio: RadioConfig = msgspec.field(default_factory=InterchangeRadio)
    """How what workers have to tell travels."""
    stream: bool = True
    """Let programs of this user follow what happens (`Client.events`, ``blockyard watch``), by a Unix socket."""
    sample_seconds: float = 1.0
    """Between two looks at what running tasks use; 0: none."""
    keep_days: float = 0.0
    """What ended longer ago goes from the database; 0 keeps everything."""

    def __post_init__(self) -> None:
        if self.database not in ("", "none") and not self.database.startswith(("sqlite:////", "postgresql://")):
            from blockyard.files.urls import shown  # for those who are told of a fault

            raise ConfigError(
                f"monitoring: database={shown(self.database)!r}; give sqlite:////path/file.db, "
                "postgresql://…, 'none', or nothing for a file of its own"
            )
        if not isinstance(self.radio, RadioConfig):
            raise ConfigError(f"monitoring: radio={self.radio!r}; give a RadioConfig, for example InterchangeRadio()")
        if not 0.0 <= self.sample_seconds < 86_400.0:
            raise ConfigError(f"monitoring: sample_seconds={self.sample_seconds!r}; seconds from 0, 0 for no samples")
        if not 0.0 <= self.keep_days <= 36_500.0:
            raise ConfigError(f"monitoring: keep_days={self.keep_days!r}; days from 0 to 36,500, 0 to keep everything")

    def check(self) -> None:
        """Raises NotInstalled with the pip line when a package is missing, ConfigError when a file has no folder."""
        needed = _NEEDED if self.database != "none" else _NEEDED[:1]
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise NotInstalled(f"monitoring: {', '.join(missing)} not installed; pip install 'blockyard[monitoring]'")
        scheme, _, path = self.database.partition(":///")
        if scheme == "sqlite" and not (parent := Path(path.partition("?")[0]).parent).is_dir():
            raise ConfigError(f"monitoring: database={self.database!r}: there is no folder {parent}; make it first")

    def all_sinks(self, folder: Path, *, is_kept: bool) -> list[Sink]:
        """Every sink, the database first. `is_kept`: the state folder outlives the system."""
        sinks = [Sink("stream", {"path": str(folder / STREAM_SOCKET)})] if self.stream else []
        sinks += self.sinks
        if self.database == "none":
            return sinks
        url = self.database or _own_database(folder if is_kept else None)
        return [Sink("sql", {"url": url, "keep_days": self.keep_days}), *sinks]


def _own_database(folder: Path | None) -> str:
    if folder is None:
        folder = state_home()
        ensure_folder(folder)
    return f"sqlite:///{folder.absolute() / 'monitoring.db'}"


def write_hub_settings(
    folder: Path, sinks: Iterable[Sink], *, radio: RadioConfig | None = None, parent: int = 0
) -> Path:
    """Write what a hub in this state folder is started with, and by what others find its history."""
    settings = {
        "folder": str(folder),
        "parent": parent,
        "radio": to_json(radio).decode() if radio is not None else "",
        "sinks": [{"kind": sink.kind, "settings": sink.settings} for sink in sinks],
    }
    path = folder / HUB_SETTINGS
    write_private(path, msgspec.json.encode(settings))
    return path


class _Hub(msgspec.Struct, frozen=True):
    """Of a hub's settings, what others look for."""

    sinks: tuple[Sink, ...] = ()


def history_of(folder: Path) -> str:
    """URL of the history of the system in this state folder; '' when it keeps none. Raises ConfigError."""
    path = folder / HUB_SETTINGS
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Hub)
    except FileNotFoundError:
        found = _Hub()
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"state folder {folder}: {path.name}: {error}") from error
    for sink in found.sinks:
        if sink.kind == "sql":
            return str(sink.settings.get("url", ""))
    return ""


def database_of(folder: Path) -> str:
    """`history_of` this folder. Raises ConfigError when there is none."""
    if url := history_of(folder):
        return url
    raise ConfigError(
        f"state folder {folder}: no history is kept there; begin with 'blockyard local up --monitoring', or "
        "Client.local(monitoring=True)"
    )


def of_word(word: str) -> Monitoring | None:
    """What a flag or a file says in one word: ``on``, a database's URL, or ``off`` (also ''). Raises ConfigError."""
    if word in ("", "off"):
        return None
    return read(True if word == "on" else word, None)


def read(value: "bool | str | Monitoring | None", radio: RadioConfig | None) -> Monitoring | None:
    """What `Client.local` was given as ``monitoring=`` and ``radio=``. Raises ConfigError."""
    if isinstance(value, Monitoring):
        if radio is not None:
            raise ConfigError("monitoring: give the radio in Monitoring(radio=…) or as radio=, not both")
        found = value
    elif isinstance(value, str):
        found = Monitoring(database=value) if radio is None else Monitoring(database=value, radio=radio)
    elif value is not None and not isinstance(value, bool):
        raise ConfigError(f"monitoring={value!r}; give True, the URL of a database, or a Monitoring")
    elif value or radio is not None:
        if value is False:
            raise ConfigError("monitoring=False with a radio: leave one of them out")
        found = Monitoring() if radio is None else Monitoring(radio=radio)
    else:
        return None
    found.check()
    return found
