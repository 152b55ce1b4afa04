"""The radio for machines that share nothing but a folder: messages as files, many to a file.

A file is written aside, then moved in place under its name: a reader sees it whole or not at all. Messages of a moment
share one file, so that a shared file system is asked for little.
"""

import os
import secrets
import struct
import threading
import time
from collections import deque
from pathlib import Path
from typing import ClassVar, Final

from blockyard.errors import ConfigError
from blockyard.radios.config import Arrivals, RadioConfig, RadioReceiver, Wire, receiver_class

MAGIC: Final = b"BYM1"
LENGTH: Final = struct.Struct(">I")
_GATHER_SECONDS: Final = 0.2
_GATHER_BYTES: Final = 512 * 1024
_MOST_BYTES: Final = 32 * 1024 * 1024
"""Gathered while nothing can be written; what is sent beyond that is lost and counted."""
_LEAST_FILE_BYTES: Final = 4096
"""What a file costs at least."""


class FilesystemRadio(RadioConfig, kw_only=True):
    """`folder`: one that senders see under the same path; '' for one in the run's folder."""

    kind: ClassVar[str] = "filesystem"

    folder: str = ""
    scan_seconds: float = 2.0
    """Between two looks where the file system tells nothing of changes (inotify)."""
    most_bytes: int = 64 * 1024 * 1024
    """Of one sender, in files that the hub has not taken in; with so much nothing more is written, and 32 MiB are
    gathered before something is lost."""

    def open_receiver(self, run_dir: Path, bus: Arrivals) -> RadioReceiver:
        if not 0.0 < self.scan_seconds < 3600.0:
            raise ConfigError(f"radio 'filesystem': scan_seconds={self.scan_seconds!r}; more than 0")
        if self.most_bytes < _LEAST_FILE_BYTES:
            raise ConfigError(f"radio 'filesystem': most_bytes={self.most_bytes}; at least {_LEAST_FILE_BYTES}")
        folder = Path(self.folder).absolute() if self.folder else run_dir.absolute() / "radio"
        for name in ("new", "draft", "bad"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = str(folder)
        made: RadioReceiver = receiver_class(self.kind)(folder, self.scan_seconds, bus)
        return made

    def open_sender(self, source: str) -> Wire:
        folder = Path(self.folder)
        if not (folder / "new").is_dir():
            raise ConfigError(
                f"radio 'filesystem': folder={self.folder!r} is not that of a receiver, as seen from here"
            )
        return _Files(folder, self.most_bytes)


class _Files(threading.Thread):
    """Writes what was gathered, from a thread of its own: a shared file system may be slow."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        super().__init__(name="radio-files", daemon=True)
        self._most_bytes = most_bytes
        self._folder = folder
        self._name = secrets.token_hex(8)
        self._count = 0
        self._changed = threading.Condition()
        self._gathered: list[bytes] = []
        self._bytes = 0
        self._left: deque[tuple[Path, int]] = deque()
        """Files that may still be there, and their sizes, oldest first."""
        self._left_bytes = 0
        self._is_closing = False
        self.start()

    def transmit(self, number: int, packet: bytes) -> bool:
        """See `Wire`."""
        with self._changed:
            if self._bytes + len(packet) > _MOST_BYTES:
                return False
            self._gathered.append(packet)
            self._bytes += len(packet)
            if len(self._gathered) == 1 or self._bytes > _GATHER_BYTES:
                self._changed.notify()
        return True

    def close(self) -> None:
        """See `Wire`."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self.join()

    def run(self) -> None:
        """Gather, write, until closed and nothing is left, or the rest cannot be written."""
        is_written = True
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._gathered or self._is_closing)
                if self._is_closing and not (self._gathered and is_written):
                    return
                if not self._is_closing:
                    self._changed.wait_for(lambda: self._is_closing or self._bytes > _GATHER_BYTES, _GATHER_SECONDS)
                taken, self._gathered, self._bytes = self._gathered, [], 0
            is_written = self._write(taken)
            if not is_written:
                with self._changed:
                    self._gathered = taken + self._gathered
                    self._bytes += sum(map(len, taken))
                time.sleep(_GATHER_SECONDS)

    def _write(self, packets: list[bytes]) -> bool:
        self._count += 1
        name = f"{self._name}-{self._count:09d}"
        draft, place = self._folder / "draft" / name, self._folder / "new" / name
        try:
            if not self._has_room():
                return False
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(MAGIC)
                for packet in packets:
                    file.write(LENGTH.pack(len(packet)))
                    file.write(packet)
            size = max(_LEAST_FILE_BYTES, draft.stat().st_size)
            draft.rename(place)
        except OSError:  # full, away, or not ours any more: it is tried again, within the bound
            draft.unlink(missing_ok=True)
            return False
        self._left.append((place, size))
        self._left_bytes += size
        return True

    def _has_room(self) -> bool:
        """Whether the hub has taken in enough of what was written. Nobody is asked before there is much of it."""
        while self._left_bytes >= self._most_bytes:
            place, size = self._left[0]
            if place.exists():
                return False
            self._left.popleft()
            self._left_bytes -= size
        return True
