"""Settings and profiles: from flags, environment and files to one frozen record, checked once, all faults together.

Precedence: flags, environment (``BLOCKYARD_*``), ``./blockyard.toml``, the user's ``~/.config/blockyard/config.toml``,
defaults. `docs/configuration.md` lists the same keys, which a test checks. Where a profile leads to is `connect`'s.
"""

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from blockyard.blocks.faults import PoolInvalid
from blockyard.blocks.pool import LocalPool
from blockyard.errors import ConfigError
from blockyard.journal_url import fault_of
from blockyard.state_folder import folder_name, state_home
from blockyard.suggestion import nearest

PREFIX: Final = "BLOCKYARD_"
CONFIG_VARIABLE: Final = "BLOCKYARD_CONFIG"
"""Names another file in place of the user's configuration."""
DEBUG_VARIABLE: Final = "BLOCKYARD_DEBUG"
"""Not empty: unexpected errors of the command line come with their traceback."""

_FOREIGN: Final = frozenset(
    PREFIX + name
    for name in (
        "BLOCK", "OWNER", "MANAGER", "WORKER", "NODE_INDEX", "POOL",  # marks of a block's processes
        "ACCELERATORS",  # of tasks that asked for some
        "PART", "PARTS", "RANK", "RANKS", "TOTAL_RANKS", "HOSTS",  # of wide tasks
        "SIZE",  # of tests
    )
) | {CONFIG_VARIABLE, DEBUG_VARIABLE}  # fmt: skip
"""Variables under our prefix that are no settings of a client."""
_FOREIGN_PREFIXES: Final = (PREFIX + "WORKER_", PREFIX + "FILES_")


class Output(StrEnum):
    """How the command line answers."""

    TABLE = "table"
    JSON = "json"


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """What ``blockyard local`` starts from.

    name: of the system, and of the profile that leads to it.
    workers: of pool 'default', in one block, when no pools are given; None: one for each core.
    metrics: HOST:PORT for Prometheus; '': nothing listens.
    journal: URL; '': SQLite in the state folder.
    monitoring: ``on``, URL of a database, or ``off``; '': off, or what it was the last time.
    pools: settings by pool, see `LocalPool`.
    """

    name: str = "local"
    workers: int | None = None
    metrics: str = ""
    journal: str = ""
    monitoring: str = ""
    pools: dict[str, LocalPool] = {}


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A named connection.

    endpoint: tcp://HOST:PORT or ipc:///PATH. server_key: the interchange's public key, 40 characters of Z85.
    client_key: file of this client's key pair, mode 0600.
    folder: instead of these three, a state folder on this machine.
    """

    endpoint: str = ""
    server_key: str = ""
    client_key: str = ""
    folder: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a client and of the command line. `places` tells where those that are no defaults were found."""

    profile: str = "local"
    output: Output = Output.TABLE
    timeout: float = 10.0
    """Seconds to wait for an interchange's answer."""
    local: Local = Local()
    profiles: dict[str, Profile] = {}
    places: dict[str, str] = {}


SCALARS: Final[Mapping[str, Any]] = {
    "profile": str,
    "output": Output,
    "timeout": float,
    "local.name": str,
    "local.workers": int,
    "local.metrics": str,
    "local.journal": str,
    "local.monitoring": str,
}
"""Every key with one value, and its type. Beside them are the tables ``profiles.NAME`` and ``local.pools.NAME``."""


class Layer(msgspec.Struct, frozen=True):
    """Raw settings of one origin. `place` is what errors call it; relative paths in it start at `folder`."""

    place: str
    values: Mapping[str, object]
    texts: bool = False
    """Values are strings still to be read, as from the environment."""
    folder: Path = Path()


def load(
    flags: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    home: Path | None = None,
) -> Settings:
    """Gather and check all settings. `flags` uses the keys of `SCALARS`; None values count as not given.

    Raises ConfigError that lists every fault, each with its place and, for an unknown key, with the nearest one.
    """
    environment = os.environ if environment is None else environment
    user = user_file(environment, home)
    faults: list[str] = []
    layers = [
        _file_layer(user, faults, must_exist=CONFIG_VARIABLE in environment),
        _file_layer((folder or Path()) / "blockyard.toml", faults),
        environment_layer(environment, faults),
        Layer("flags", {key: value for key, value in (flags or {}).items() if value is not None}),
    ]
    settings = resolve(layers, faults)
    if faults:
        noun = "fault" if len(faults) == 1 else "faults"
        raise ConfigError(f"settings: {len(faults)} {noun}:" + "".join(f"\n  {fault}" for fault in faults))
    return settings


def user_file(environment: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """Where the user's configuration is, whether it exists or not."""
    environment = os.environ if environment is None else environment
    if named := environment.get(CONFIG_VARIABLE):
        return Path(named)
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else (home or Path.home()) / ".config") / "blockyard" / "config.toml"


def system_folder(name: str) -> Path:
    """The state folder of the system that ``blockyard local up --name NAME`` starts."""
    return state_home() / "systems" / folder_name("local.name", name, "a system")


def systems() -> list[str]:
    """Names of the systems that have a state folder on this machine, running or not."""
    base = state_home() / "systems"
    return sorted(path.name for path in base.iterdir() if path.is_dir()) if base.is_dir() else []


def resolve(layers: Iterable[Layer], faults: list[str]) -> Settings:
    """Merge layers, the weightiest last; what is wrong goes to `faults`. Pure."""
    found: dict[str, Any] = {}
    places: dict[str, str] = {}
    profiles: dict[str, Profile] = {}
    pools: dict[str, LocalPool] = {}
    for layer in layers:
        for key, value in _flat(layer.values):
            head, _, name = key.rpartition(".")
            if head == "profiles":
                profile = _profile(layer, key, value, faults)
                if profile is not None:
                    profiles[name], places[key] = profile, layer.place
            elif head == "local.pools":
                pool = _pool(layer, key, value, faults)
                if pool is not None:
                    pools[name], places[key] = pool, layer.place
            elif key not in SCALARS:
                faults.append(f"{layer.place}: unknown key {key!r}{nearest(key, _KNOWN)}")
            elif (converted := _scalar(layer, key, value, faults)) is not None:
                found[key], places[key] = converted, layer.place
    local = {key.removeprefix("local."): value for key, value in found.items() if key.startswith("local.")}
    own = {key: value for key, value in found.items() if "." not in key}
    return Settings(**own, local=Local(**local, pools=pools), profiles=profiles, places=places)


_KNOWN: Final = (*SCALARS, "profiles", "local.pools", "local")


def environment_layer(environment: Mapping[str, str], faults: list[str]) -> Layer:
    """The settings among environment variables: ``local.workers`` is ``BLOCKYARD_LOCAL_WORKERS``."""
    variables = {variable_of(key): key for key in SCALARS}
    values: dict[str, object] = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name in _FOREIGN or name.startswith(_FOREIGN_PREFIXES):
            continue
        if name in variables:
            values[variables[name]] = text
        else:
            faults.append(f"environment: unknown variable {name!r}{nearest(name, variables)}")
    return Layer("environment", values, texts=True)


def variable_of(key: str) -> str:
    """The environment variable of a key."""
    return PREFIX + key.upper().replace(".", "_")


def _file_layer(path: Path, faults: list[str], *, must_exist: bool = False) -> Layer:
    try:
        values: Mapping[str, object] = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if must_exist:
            faults.append(f"{path}: there is no such file, though {CONFIG_VARIABLE} names it")
        values = {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults.append(f"{path}: {error}")
        values = {}
    return Layer(str(path), values, folder=path.parent)


def _flat(values: Mapping[str, object]) -> list[tuple[str, object]]:
    """Keys with dots, each with its value; a profile or a pool is one value."""
    flat: list[tuple[str, object]] = []
    for key, value in values.items():
        if not isinstance(value, Mapping):
            flat.append((key, value))
        elif key == "profiles":
            flat += [(f"profiles.{name}", table) for name, table in value.items()]
        else:
            flat += _flat_below(key, value)
    return flat


def _flat_below(head: str, values: Mapping[str, object]) -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for key, value in values.items():
        if head == "local" and key == "pools" and isinstance(value, Mapping):
            flat += [(f"local.pools.{name}", table) for name, table in value.items()]
        else:
            flat.append((f"{head}.{key}", value))
    return flat


def _scalar(layer: Layer, key: str, value: object, faults: list[str]) -> object:
    try:
        converted: object = msgspec.convert(value, SCALARS[key], strict=not layer.texts)
    except msgspec.ValidationError as error:
        faults.append(f"{layer.place}: {key} = {value!r}: {error}")
        return None
    problem = _CHECKS.get(key, _fine)(converted)
    if problem:
        faults.append(f"{layer.place}: {key} = {_shown(value)!r}: {problem}")
        return None
    return converted


def _shown(value: object) -> object:
    """As it was given, but for the password of what may be meant as a database."""
    from blockyard.files.urls import shown  # for those who are told of a fault

    return shown(value) if isinstance(value, str) and "://" in value else value


def _fine(_: Any) -> str:
    return ""


def _listening(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not value or (host and port.isdecimal() and int(port) < 65536):
        return ""
    return "give HOST:PORT, for example 127.0.0.1:9300"


def _monitored(value: str) -> str:
    if value in ("", "on", "off") or value.startswith(("sqlite:////", "postgresql://")):
        return ""
    return "give 'on', 'off', or the URL of a database: sqlite:////path/file.db or postgresql://…"


_CHECKS: Final[Mapping[str, Callable[[Any], str]]] = {
    "timeout": lambda value: "" if value > 0 else "give seconds above 0",
    "local.workers": lambda value: "" if value >= 1 else "give a whole number from 1",
    "local.metrics": _listening,
    "local.journal": fault_of,
    "local.monitoring": _monitored,
}


def _pool(layer: Layer, key: str, value: object, faults: list[str]) -> LocalPool | None:
    if not isinstance(value, Mapping):
        faults.append(f"{layer.place}: {key} = {value!r}: expected a table")
        return None
    try:
        return LocalPool.read(value)
    except PoolInvalid as invalid:
        faults += [f"{layer.place}: {key}.{fault.field}: {fault.problem}" for fault in invalid.faults]
    return None


def _profile(layer: Layer, key: str, value: object, faults: list[str]) -> Profile | None:
    if not isinstance(value, Mapping):
        faults.append(f"{layer.place}: {key} = {value!r}: expected a table")
        return None
    before = len(faults)
    known = Profile.__struct_fields__
    texts: dict[str, str] = {}
    for name, text in value.items():
        if name not in known:
            faults.append(f"{layer.place}: unknown key {key + '.' + name!r}{nearest(name, known)}")
        elif not isinstance(text, str):
            faults.append(f"{layer.place}: {key}.{name} = {text!r}: expected a string")
        else:
            texts[name] = text
    needed = () if "folder" in texts else ("endpoint", "server_key", "client_key")
    missing = [name for name in needed if not texts.get(name)]
    if missing and len(faults) == before:
        faults.append(f"{layer.place}: {key} lacks {', '.join(missing)} (or names a state folder by 'folder')")
    if len(faults) > before:
        return None
    for name in ("client_key", "folder"):
        if texts.get(name):
            texts[name] = str(layer.folder.absolute() / Path(texts[name]).expanduser())
    return Profile(**texts)
