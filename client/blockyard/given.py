"""What a caller gave: a value of a wrong kind is said by its name, before anything is begun with it."""

import os

from blockyard.errors import ConfigError


def texts(call: str, **given: object) -> None:
    """Raise ConfigError for what is no text, or none that can be sent and stored."""
    for name, value in given.items():
        if not isinstance(value, str):
            raise ConfigError(f"{call}: {name}={value!r}; give a text")
        try:
            encoded = value.encode()
        except UnicodeEncodeError:
            encoded = b"\0"
        _check(call, name, encoded)


def places(call: str, **given: object) -> None:
    """Raise ConfigError for what is no text or path that a file can have, nor None."""
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, str | os.PathLike):
            raise ConfigError(f"{call}: {name}={value!r}; give a text or a pathlib.Path")
        try:
            encoded = os.fsencode(value)
        except UnicodeEncodeError:
            encoded = b"\0"
        _check(call, name, encoded)


def flags(call: str, **given: object) -> None:
    """Raise ConfigError for what is neither True nor False, nor None."""
    for name, value in given.items():
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f"{call}: {name}={value!r}; give True or False")


def _check(call: str, name: str, encoded: bytes) -> None:
    if b"\0" in encoded:  # it is not shown: the URL of a database may have a password
        raise ConfigError(f"{call}: {name}: give a text without NUL, and without surrogates")
