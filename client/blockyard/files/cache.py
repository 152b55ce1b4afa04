"""A node's copies of files, shared by all its workers: each is fetched once, and kept while there is room.

Below the cache's folder, which belongs to one user:

    copies/KEY/NAME   whole copies; its time of modification is when one was used last
    parts/TOKEN       what is being fetched, and TOKEN.room, as large as it will be
    outputs/TOKEN/    what a try writes
    locks/            one for each KEY and TOKEN: alone for who fetches, shared for who uses; `room` for who counts

A copy is moved into its place when it is whole, so what stands there can be used. Whoever was killed held locks only,
and what he left behind is swept away by the next one who needs room.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from blockyard.errors import ConfigError
from blockyard.files import locks
from blockyard.files.port import Refused

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_FOLDERS: Final = ("copies", "parts", "outputs", "locks")


class _Copy(NamedTuple):
    """One that the node has; the one that was not used for the longest time comes first."""

    used_at: float
    key: str
    size_bytes: int


class CacheFull(OSError):
    """There is no room now, since other tasks use what is there."""


class Part(io.FileIO):
    """What is being fetched: counts what is written, and takes its hash if `hash` is set before."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path, "xb")
        self.count = 0
        self.hash: hashlib._Hash | None = None
        self._most = most

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it. Raises Refused when it becomes larger than the cache may be."""
        view = memoryview(data).cast("B")
        self.count += len(view)
        if self.count > self._most:
            raise Refused(_too_large(self.count, self._most))
        if self.hash is not None:
            self.hash.update(view)
        left = view
        while left:
            left = left[super().write(left) or 0 :]
        return len(view)


Begin: TypeAlias = Callable[[int | None], Part]
"""Makes room for so many bytes (None: nobody knows how many) and opens what they are to be written into."""
Fetch: TypeAlias = Callable[[Begin], Part]
"""Returns the part when it is whole; may begin several times."""


class Held:
    """A copy in use. It is not removed before `close`; with `once` it is removed then."""

    def __init__(self, path: Path, lock: locks.Lock, *, once: bool) -> None:
        self.path = path
        self._lock = lock
        self._once = once

    def close(self) -> None:
        """It is not used any more; idempotent."""
        if self._once:
            shutil.rmtree(self.path.parent, ignore_errors=True)
            self._lock.remove()
        self._lock.close()


class Cache:
    """The copies of one folder; used by any number of processes and threads at once."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Raises ConfigError when the folder is somebody else's, or cannot be made."""
        self.folder = folder
        self.limit = limit
        self._copies, self._parts, self._outputs, self.locks = (folder / name for name in _FOLDERS)
        self._make_folders()

    def _make_folders(self) -> None:
        folder = self.folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = folder.stat()
            if state.st_uid != os.geteuid() or state.st_mode & 0o022:
                raise ConfigError(
                    f"the cache of files, {folder}, is of user {state.st_uid}, mode {state.st_mode & 0o777:o}; it must "
                    f"be of user {os.geteuid()} and writable by nobody else: name another by BLOCKYARD_FILES_CACHE"
                )
            for name in _FOLDERS:
                (folder / name).mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the cache of files, {folder}, cannot be used: {error}; name another by BLOCKYARD_FILES_CACHE"
            ) from error

    @contextmanager
    def _standing(self) -> Iterator[None]:
        """Within it the folders are there, though somebody tidied up; an OSError says that he did so just now."""
        self._make_folders()
        try:
            yield
        except FileNotFoundError as error:
            if all((self.folder / name).is_dir() for name in _FOLDERS):
                raise
            raise OSError(f"the cache of files, {self.folder}, was removed just now") from error

    def hold(self, key: str, name: str, fetch: Fetch) -> Held:
        """The copy of this key, fetched if it is not here, and not removed while it is held.

        Raises what `fetch` raises, Refused, CacheFull.
        """
        place = self._copies / key / name
        with self._standing():
            while True:
                lock = locks.take(self.locks / key, alone=False)
                if place.exists():
                    os.utime(place)
                    return Held(place, lock, once=False)
                lock.close()
                if (alone := locks.take_free(self.locks / key)) is None:
                    continue  # it is fetched just now, which the other lock waits for; or is here, and in use
                with contextlib.closing(alone):
                    if not place.exists():
                        self._fetch(place, fetch)

    def hold_once(self, name: str, fetch: Fetch) -> Held:
        """A copy that nobody else gets, for what may be another file the next time."""
        key = f"once-{secrets.token_hex(16)}"
        with self._standing():
            lock = locks.take(self.locks / key)
            held = Held(self._copies / key / name, lock, once=True)
            try:
                self._fetch(held.path, fetch)
            except BaseException:
                held.close()
                raise
            return held

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A folder for what a try writes; gone afterwards. Raises ConfigError, OSError."""
        self._make_folders()
        self._sweep()
        with self._token() as token:
            folder = self._outputs / token
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _fetch(self, place: Path, fetch: Fetch) -> None:
        with self._token() as token, contextlib.ExitStack() as opened:
            draft, room = self._parts / token, self._parts / f"{token}.room"

            def begin(size_bytes: int | None) -> Part:
                draft.unlink(missing_ok=True)
                self._make_room(room, size_bytes or 0)
                return opened.enter_context(Part(draft, self.limit))

            try:
                part = fetch(begin)
                os.fsync(part.fileno())
                if part.count != room.stat().st_size:
                    self._make_room(room, part.count)
                draft.chmod(0o444)
                place.parent.mkdir(exist_ok=True)
                draft.replace(place)
            finally:
                draft.unlink(missing_ok=True)
                room.unlink(missing_ok=True)

    def _make_room(self, reservation: Path, size_bytes: int) -> None:
        """Let so many bytes be counted for a part, and remove copies until all fit.

        Raises Refused when they never will, CacheFull when what is there is in use.
        """
        if size_bytes > self.limit:
            raise Refused(_too_large(size_bytes, self.limit))
        self._sweep()
        with self._alone("room"):
            with reservation.open("wb") as file:
                file.truncate(size_bytes)
            copies = list(self._all_copies())
            free = shutil.disk_usage(self.folder).free + _size_of(reservation.with_suffix(""))
            excess = max(
                sum(copy.size_bytes for copy in copies) + self._reserved() - self.limit,
                size_bytes - free,  # the disk may be smaller than the cache could become
            )
            for copy in sorted(copies):
                if excess <= 0:
                    break
                if self._remove(copy.key):
                    excess -= copy.size_bytes
            if excess > 0:
                reservation.unlink()
                raise CacheFull(
                    f"its {size_bytes} bytes do not fit beside what running tasks use of the node's cache of "
                    f"{self.limit} bytes: raise BLOCKYARD_FILES_CACHE_BYTES of its workers"
                    if size_bytes <= free
                    else f"its {size_bytes} bytes do not fit on the disk of the node's cache, {self.folder}, where "
                    f"{free} are free: name another by BLOCKYARD_FILES_CACHE"
                )

    def _all_copies(self) -> Iterator[_Copy]:
        for file in self._copies.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # it has just been removed
                state = file.stat()
                yield _Copy(state.st_mtime, file.parent.name, state.st_size)

    def _reserved(self) -> int:
        """Bytes of what is being fetched: as large as it will be, or as it is when that is more."""
        sizes: dict[str, int] = {}
        for file in self._parts.iterdir():
            token = file.name.removesuffix(".room")
            with contextlib.suppress(FileNotFoundError):  # it has just been put into its place
                sizes[token] = max(sizes.get(token, 0), file.stat().st_size)
        return sum(sizes.values())

    def _remove(self, key: str) -> bool:
        """Remove a copy; False when it is in use."""
        lock = locks.take_free(self.locks / key)
        if lock is None:
            return False
        shutil.rmtree(self._copies / key, ignore_errors=True)
        lock.remove()
        lock.close()
        return True

    def _sweep(self) -> None:
        """Remove what those left behind who were killed."""
        for left in [*self._parts.iterdir(), *self._outputs.iterdir(), *self._copies.glob("once-*")]:
            lock = locks.take_free(self.locks / left.name.removesuffix(".room"))
            if lock is None:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
            lock.remove()
            lock.close()

    @contextmanager
    def _token(self) -> Iterator[str]:
        """A new name, locked before anything is called by it."""
        token = secrets.token_hex(16)
        lock = locks.take(self.locks / token)
        try:
            yield token
        finally:
            lock.remove()
            lock.close()

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        lock = locks.take(self.locks / key)
        try:
            yield
        finally:
            lock.close()


def _size_of(file: Path) -> int:
    """In bytes; 0 when it is not there."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _too_large(size_bytes: int, limit: int) -> str:
    return (
        f"it has {size_bytes} bytes or more and the node's cache may have {limit}: raise BLOCKYARD_FILES_CACHE_BYTES "
        "of its workers"
    )
