"""What a stager is: it moves files of one scheme of URLs. A stranger's is registered by an entry point,

    [project.entry-points."blockyard.stagers"]
    attic = "my_package.attic:AtticStager"

whose name is the scheme (``attic://…``) and whose object makes a stager when it is called without arguments, where a
task runs that has such a file, before its function does. The tests that a stager must pass are in `suites`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from blockyard import plugins
from blockyard.errors import ConfigError
from blockyard.files import urls


class Found(msgspec.Struct, frozen=True):
    """What is at an address now."""

    size_bytes: int | None = None
    """None: not known before it has been read."""
    validator: str = ""
    """Another one when the content is another (ETag, modification time and size); '': nobody can tell, so that nothing
    is kept."""


class Refused(OSError):
    """The other side refuses, and will as often as it is asked."""


class Stager(Protocol):
    """Moves files of one scheme; used by several threads at once.

    Raise FileNotFoundError, PermissionError, IsADirectoryError, `Refused` or ConfigError for what will not change by
    itself. Everything else is tried again after a while.
    """

    writes: bool
    """Whether `store` works; of ours, a class attribute."""

    def place(self, url: str) -> Path | None:
        """Where this node can open the file as it is, which is then neither copied nor kept; None: nowhere."""

    def look(self, url: str) -> Found:
        """What is there."""

    def fetch(self, url: str, into: BinaryIO) -> None:
        """Write the whole content into a file that is open, from its beginning."""

    def store(self, path: Path, url: str) -> None:
        """Put a file there, in place of what is there: whole, or not at all."""


@functools.lru_cache(maxsize=64)
def stager_of(scheme: str) -> Stager:
    """The one for a scheme, made once a process. Raises PluginError when there is none, listing those there are."""
    made: Stager = plugins.load(plugins.STAGERS, scheme)()  # type: ignore[operator]  # mypy cannot know what it is
    for name in ("writes", "place", "look", "fetch", "store"):
        if not hasattr(made, name):
            raise ConfigError(f"plug-in {scheme!r} of group {plugins.STAGERS!r}: {made!r} has no {name!r}")
    return made


def check_scheme(url: str, *, writes: bool) -> None:
    """Raises ConfigError when no stager has this scheme, or ours for it cannot write and is to.

    Those of others are not loaded here: what they need may be where tasks run and nowhere else.
    """
    if reason := urls.scheme_fault(url, schemes, writes=writes):
        raise ConfigError(f"{'output' if writes else 'file'} {urls.shown(url)}: {reason}")


@functools.cache
def schemes() -> frozenset[str]:
    """All that have a stager here, those of plug-ins too. Raises PluginError when two claim one."""
    return frozenset(plugins.registered(plugins.STAGERS))
