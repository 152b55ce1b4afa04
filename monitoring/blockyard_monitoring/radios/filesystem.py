"""The receiver of radio `filesystem`: takes in files as they appear, and removes each when its messages are stored."""

import ctypes
import logging
import os
import select
import threading
import time
from pathlib import Path
from typing import Final

from blockyard.errors import BadFrame
from blockyard.radios import Arrival, Arrivals
from blockyard.radios.filesystem import LENGTH, MAGIC
from blockyard.wire import codec
from blockyard.wire.monitoring import MAX_PACKET_BYTES, AnyPacket, micros
from blockyard_monitoring.inlet import Inlet
from blockyard_monitoring.refusals import Refusals

_log = logging.getLogger(__name__)

RADIO: Final = "filesystem"
_MOST_FILE_BYTES: Final = 64 * 1024 * 1024
_LEAST_SCAN_SECONDS: Final = 0.05
_ROOM_SECONDS: Final = 0.05
_IN_MOVED_TO: Final = 0x80
_IN_NONBLOCK: Final = os.O_NONBLOCK
_IN_CLOEXEC: Final = os.O_CLOEXEC


class FilesystemReceiver:
    """One thread. Where inotify works it is woken; besides, and on shared file systems alone, it looks by itself.

    The pause between two looks doubles up to `scan_seconds` while nothing comes, and starts over when something does.
    """

    def __init__(self, folder: Path, scan_seconds: float, bus: Arrivals) -> None:
        self._folder = folder
        self._scan_seconds = scan_seconds
        self._refusals = Refusals(bus, RADIO)
        self._inlet = Inlet(bus)
        self._taken: set[str] = set()
        """Files whose messages are on the bus and not stored yet."""
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_ending = False
        self._inotify = _watch(folder / "new")
        self._thread = threading.Thread(target=self._run, name="radio-files", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """See `RadioReceiver`."""
        if not self._is_ending:
            self._is_ending = True
            os.eventfd_write(self._wakeup, 1)
            self._thread.join()
            os.close(self._wakeup)
            if self._inotify >= 0:
                os.close(self._inotify)

    def _run(self) -> None:
        pause = _LEAST_SCAN_SECONDS
        descriptors = [one for one in (self._wakeup, self._inotify) if one >= 0]
        while True:
            is_last = self._is_ending
            found = self._scan() if self._inlet.has_room() else 0
            if is_last and not found:
                return
            if found:
                pause = _LEAST_SCAN_SECONDS
            if is_last or not self._inlet.has_room():
                time.sleep(_ROOM_SECONDS)
                continue
            ready, _, _ = select.select(descriptors, [], [], pause)
            pause = min(2 * pause, self._scan_seconds)
            for descriptor in ready:
                os.read(descriptor, 65_536)

    def _scan(self) -> int:
        """Take in all files that are there and were not taken in; how many."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._folder / "new") if entry.name not in self._taken)
        except OSError as error:
            _log.warning("folder %s cannot be read: %s", self._folder, error)
            return 0
        for name in names:
            self._take(name)
            if not self._inlet.has_room():
                break
        return len(names)

    def _take(self, name: str) -> None:
        path = self._folder / "new" / name
        try:
            packets, faults = _packets(path)
        except FileNotFoundError:
            return
        except OSError as error:
            packets, faults = [], [f"it cannot be read: {error}"]
        self._taken.add(name)
        if faults:
            self._put_aside(path, faults)
        left = _Countdown(len(packets), self._remover(path))
        arrived = micros(time.time())
        for packet in packets:
            self._inlet.take(Arrival(packet, RADIO, arrived, left))

    def _put_aside(self, path: Path, faults: list[str]) -> None:
        """Keep a file for people, with what is wrong in the log; what is right in it is taken in all the same."""
        aside = self._folder / "bad" / path.name
        for fault in faults:
            self._refusals.add("malformed", f"file {path.name}, put aside in {aside.parent}: {fault}")
        try:
            os.link(path, aside, follow_symlinks=False)
        except OSError as error:
            _log.error("file %s cannot be put aside: %s", path.name, error)

    def _remover(self, path: Path) -> "_Remover":
        return _Remover(path, self._taken)


class _Remover:
    def __init__(self, path: Path, taken: set[str]) -> None:
        self._path, self._taken = path, taken

    def __call__(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.error("file %s is done with and cannot be removed: %s", self._path, error)
            return  # it stays among those taken, so that it is not read again
        self._taken.discard(self._path.name)


class _Countdown:
    """Calls `then` when it was called so often."""

    def __init__(self, count: int, then: _Remover) -> None:
        self._left, self._then = count, then
        self._lock = threading.Lock()
        if not count:
            then()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._then()


def _packets(path: Path) -> tuple[list[AnyPacket], list[str]]:
    """All messages of a file, and in words what in it is none."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_FILE_BYTES:
        return [], [f"no plain file of at most {_MOST_FILE_BYTES} bytes"]
    content = memoryview(path.read_bytes())
    if bytes(content[:4]) != MAGIC:
        return [], ["it does not begin as one of this radio's"]
    packets: list[AnyPacket] = []
    faults: list[str] = []
    place = len(MAGIC)
    while place < len(content):
        size = LENGTH.unpack_from(content, place)[0] if len(content) - place >= LENGTH.size else 1 << 32
        place += LENGTH.size
        if size > MAX_PACKET_BYTES or size > len(content) - place:
            return packets, [*faults, f"a message of {size} bytes at {place}, {max(0, len(content) - place)} are left"]
        try:
            packets.append(codec.packet_of_worker.decode(content[place : place + size]))
        except BadFrame as error:
            faults.append(f"message at {place}: {error}")
        place += size
    return packets, faults


def _watch(folder: Path) -> int:
    """A descriptor that is readable when a file was moved into a folder; -1 where that is not to be had."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    if descriptor >= 0 and libc.inotify_add_watch(descriptor, os.fsencode(folder), _IN_MOVED_TO) < 0:
        os.close(descriptor)
        return -1
    return descriptor
