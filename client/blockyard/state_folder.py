"""What others look for in the state folder of a system on this machine. Small: whoever ends a client imports it."""

import os
from pathlib import Path
from typing import Final

HUB_SETTINGS: Final = "hub.json"
"""What the hub was started with."""
STREAM_SOCKET: Final = "stream.sock"
"""Where it shows what happens."""
MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path, unix(7)."""


def is_monitored(folder: Path) -> bool:
    """Whether a hub was ever started in this state folder."""
    return (folder / HUB_SETTINGS).exists()


def longest_path(folder: Path) -> int:
    """Bytes of the longest path of a socket in it."""
    return len(os.fsencode(folder.absolute() / "managers.sock"))
