"""The environment of a managed task: layers in the order they were given, worked out once, when the task is to start.

Pure but for `shell_source` layers, which `sourcing` reads, and for secrets, which `Secret.reveal` fetches. The caller's
dict and this process's environment are never changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from blockyard.errors import ConfigError
from blockyard.managed.sourcing import Sourced, source

Mode: TypeAlias = Literal["prepend", "append", "overwrite"]

# fmt: off
PATH_VARIABLES: Final = frozenset({
    "PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "MANPATH",
    "INFOPATH", "PKG_CONFIG_PATH", "CMAKE_PREFIX_PATH", "XDG_DATA_DIRS", "XDG_CONFIG_DIRS", "MODULEPATH", "CLASSPATH",
})
# fmt: on
"""Lists with ``:`` between their parts, which a layer joins; every other variable it replaces."""
HIDDEN: Final = "<secret>"
_SECRET_NAME = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|AUTHORIZATION|KEY|APIKEY)(_|$)",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(\w+://[^/\s:@]*):[^/\s@]+@")
_LEAST_SECRET: Final = 6
"""Shorter values are not looked for in others: they would be found everywhere."""


class Secret(msgspec.Struct, frozen=True):
    """A value that is fetched when the task starts and is in no record: ``file:/run/secrets/token`` or ``env:NAME``."""

    source: str

    def reveal(self, environment: Mapping[str, str]) -> str:
        """The value. Raises ConfigError naming the source."""
        kind, _, where = self.source.partition(":")
        if kind == "env" and where in environment:
            return environment[where]
        if kind == "file":
            try:
                return Path(where).read_text().rstrip("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"secret {self.source!r}: {error}") from error
        raise ConfigError(f"secret {self.source!r}: give file:PATH, or env:NAME of a variable that is set")


Values: TypeAlias = Mapping[str, "str | Secret | None"]
"""None removes a variable."""
MoreValues: TypeAlias = "Values | Callable[[], Values]"


class _Update(msgspec.Struct, frozen=True):
    values: MoreValues
    mode: Mode
    path_variables: frozenset[str]


class _Script(msgspec.Struct, frozen=True):
    path: str
    timeout: float


class Resolved(msgspec.Struct, frozen=True):
    """A complete environment."""

    variables: dict[str, str]
    secrets: frozenset[str] = frozenset()
    """Names whose values are secret."""

    def for_record(self) -> dict[str, str]:
        """The same without secrets: neither by name, nor as part of another's value."""
        hidden, values = self._hidden(), self.hidden_values()
        found = {}
        for name, value in sorted(self.variables.items()):
            shown = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", value) if "@" in value else value
            found[name] = HIDDEN if name in hidden else without(values, shown)
        return found

    def hidden_values(self) -> list[str]:
        """Values of secret variables that may be looked for in other texts, the longest first."""
        found = {self.variables[name] for name in self._hidden()}
        return sorted((value for value in found if len(value) >= _LEAST_SECRET), key=len, reverse=True)

    def _hidden(self) -> set[str]:
        return {name for name in self.variables if name in self.secrets or _sounds_secret(name)}


def without(secrets: Iterable[str], value: Any) -> Any:
    """What JSON can hold, with ``<secret>`` in the place of these wherever it has text."""
    match value:
        case str():
            for secret in secrets:
                value = value.replace(secret, HIDDEN)
            return value
        case list() | tuple():
            return [without(secrets, one) for one in value]
        case dict():
            return {name: without(secrets, one) for name, one in value.items()}
    return value


class Environment:
    """Layers on top of this process's environment."""

    def __init__(self) -> None:
        self._layers: list[_Update | _Script] = []

    def copy(self) -> Environment:
        """Another one with these layers, and those that it is given."""
        found = Environment()
        found._layers = list(self._layers)
        return found

    def update(self, values: MoreValues, mode: Mode = "prepend", path_variables: Iterable[str] = ()) -> None:
        """Another layer. Raises ConfigError naming what is wrong with it."""
        if mode not in get_args(Mode):
            raise ConfigError(f"environment: mode={mode!r}; give one of {', '.join(get_args(Mode))}")
        if not callable(values):
            values = dict(values)
            _check(values)
        self._layers.append(_Update(values, mode, PATH_VARIABLES | frozenset(path_variables)))

    def source(self, script: str | os.PathLike[str], timeout: float = 60.0) -> None:
        """A layer that a shell script makes. It is read when the task is to start."""
        self._layers.append(_Script(os.fspath(script), timeout))

    def resolve(self, base: Mapping[str, str], apart: Container[str] = (), unwanted: int = -1) -> Resolved:
        """Work out all layers. `apart`: variables of one execution, which no script sees: what one does is kept for the
        next. `unwanted`: see `source`. Raises ConfigError for a script or a secret that can't be read, NotWanted."""
        variables, secrets = dict(base), set[str]()
        for layer in self._layers:
            match layer:
                case _Script():
                    given = {name: value for name, value in variables.items() if name not in apart}
                    apply_sourced(variables, source(layer.path, given, layer.timeout, unwanted))
                case _Update():
                    values = layer.values() if callable(layer.values) else layer.values
                    _check(values)
                    secrets |= _merge(variables, values, layer, base)
        return Resolved(variables, frozenset(secrets))


@lru_cache(maxsize=1024)
def _sounds_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def apply_sourced(variables: dict[str, str], sourced: Sourced) -> None:
    """What a script changed and removed."""
    variables.update(sourced.changed)
    for name in sourced.removed:
        variables.pop(name, None)


def merged(old: str | None, new: str, mode: Mode) -> str:
    """Two values of a path variable. Parts that are in both stay where the new value has them; empty ones go."""
    if mode == "overwrite" or not old:
        return new
    added = [part for part in new.split(":") if part]
    kept = [part for part in old.split(":") if part and part not in added]
    return ":".join([*added, *kept] if mode == "prepend" else [*kept, *added])


def with_parts(value: str, parts: Iterable[str]) -> str:
    """A path variable with those of `parts` behind it that it lacks."""
    there = value.split(":")
    return ":".join([*([value] if value else []), *(part for part in parts if part not in there)])


def _merge(variables: dict[str, str], values: Values, layer: _Update, base: Mapping[str, str]) -> set[str]:
    secrets = set()
    for name, value in values.items():
        if value is None:
            variables.pop(name, None)
            continue
        if isinstance(value, Secret):
            secrets.add(name)
            variables[name] = value.reveal(base)
        elif name in layer.path_variables:
            variables[name] = merged(variables.get(name), value, layer.mode)
        else:
            variables[name] = value
    return secrets


def _check(values: Values) -> None:
    for name, value in values.items():
        if not name or "=" in name or "\0" in name:
            raise ConfigError(f"environment: {name!r} is no name of a variable")
        if isinstance(value, str) and "\0" in value:
            raise ConfigError(f"environment: {name}: a value holds no NUL")
        if not isinstance(value, str | Secret | None):
            raise ConfigError(
                f"environment: {name}={value!r} is {type(value).__name__}; give text, Secret, or None to remove it"
            )
