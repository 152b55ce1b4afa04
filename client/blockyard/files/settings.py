"""How files are staged on a node: by the environment of its workers, which a pool's template gives them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from blockyard.errors import ConfigError
from blockyard.options import parse_size
from blockyard.suggestion import nearest

PREFIX: Final = "BLOCKYARD_FILES_"
DEFAULT_CLAIMS: Final = "/pvc"


class StagingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``BLOCKYARD_FILES_CACHE``, ``_CACHE_BYTES``, ``_TRANSFERS``, ``_TRIES``, ``_BACKOFF`` and ``_CLAIMS``."""

    cache: Path
    """Folder of copies, one for all workers of a node and of one user."""
    cache_bytes: int = 10 * 1024**3
    """It holds at most so many; what was not used for the longest time goes first."""
    transfers: int = 4
    """At once on a node."""
    tries: int = 5
    """Of one transfer."""
    backoff: float = 0.5
    """Seconds before the second; doubles each time, up to 30."""
    claims: tuple[tuple[str, str], ...] = (("", DEFAULT_CLAIMS),)
    """Where claims are mounted, by name; '' is the folder in which all others are."""

    def mount_of(self, claim: str) -> Path:
        """Where a claim is mounted in this pool's pods."""
        mounts = dict(self.claims)
        return Path(mounts[claim]) if claim in mounts else Path(mounts.get("", DEFAULT_CLAIMS), claim)


def read(environment: Mapping[str, str] | None = None) -> StagingSettings:
    """The settings that an environment names; by default this process's. Raises ConfigError naming each fault."""
    environment = os.environ if environment is None else environment
    given = {name.removeprefix(PREFIX): text for name, text in environment.items() if name.startswith(PREFIX)}
    default = StagingSettings(cache=Path(tempfile.gettempdir(), f"blockyard-files-{os.getuid()}"))
    faults = [f"{PREFIX}{name}: unknown{nearest(name, _NAMES)}" for name in given if name not in _NAMES]
    changes: dict[str, object] = {}
    for name, text in given.items():
        try:
            match name:
                case "CACHE":
                    changes["cache"] = Path(text).absolute()
                case "CACHE_BYTES":
                    changes["cache_bytes"] = parse_size(PREFIX + name, text)
                case "TRANSFERS" | "TRIES":
                    changes[name.lower()] = _count(text)
                case "BACKOFF":
                    changes["backoff"] = _seconds(text)
                case "CLAIMS":
                    changes["claims"] = _mounts(text)
        except ConfigError as fault:
            faults.append(str(fault))
        except ValueError as fault:
            faults.append(f"{PREFIX}{name}={text!r}: {fault}")
    if faults:
        raise ConfigError("staging of files: " + "; ".join(faults))
    return msgspec.structs.replace(default, **changes)


_NAMES: Final = ("CACHE", "CACHE_BYTES", "TRANSFERS", "TRIES", "BACKOFF", "CLAIMS")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise ValueError("a number from 1 to 1000 is expected")
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise ValueError("seconds from 0 to 3600 are expected")
    return seconds


def _mounts(text: str) -> tuple[tuple[str, str], ...]:
    """``/mnt/claims`` or ``data=/data,other=/mnt/other``, or both."""
    mounts: list[tuple[str, str]] = []
    for part in text.split(","):
        claim, equals, folder = part.strip().rpartition("=")
        if not folder.startswith("/") or (equals and not claim):
            raise ValueError(f"{part.strip()!r} is neither an absolute path nor CLAIM=/absolute/path")
        mounts.append((claim, folder))
    return tuple(mounts)
