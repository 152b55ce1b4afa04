"""Files by which processes of one machine hand each other large payloads, without a socket in between.

A blob is written once and read by name. Two kinds by size, because of what the kernel charges for fresh pages (about
0.4 µs per KiB in tmpfs, seven times the copy itself):

- up to `COPY_BYTES` a reader copies the blob into its own memory, and a freed file is kept aside and written over by
  the next blob (`_spares`);
- above that a reader maps it privately, copy-on-write: nothing is copied, the views are writable as in a process pool,
  and the file itself never changes. Such a file is never written over, and may be unlinked while it is mapped.

A folder that somebody removed is made anew for the next blob; what was in it is missing. In shared memory that happens
when its user's last session ends (logind.conf(5), RemoveIPC).

A reader that was overtaken by `unlink` finds out and gets `BlobMissing`, never another blob's bytes. Who may free which
blob is not decided here. Folders are 0700, files 0600; names come over the wire, so they are checked.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import mmap
import os
import re
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from blockyard import nearness
from blockyard.errors import BlobMissing, BlobsFull
from blockyard.parts import Packed

COPY_BYTES: Final = 1024 * 1024
"""Up to this size a blob is read into memory and its file used again; larger ones are mapped."""

MOST_SPARES: Final = 64
MOST_PIECES: Final = 1024
"""IOV_MAX of Linux: how many buffers one writev may have."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_MADE_UP: Final = re.compile(r"b[0-9a-f]{16}-[0-9a-f]+")
_SPARES: Final = ".spare"
_UNFINISHED: Final = ".unfinished-"
_FLAGS: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC


class Blob(NamedTuple):
    """The name of a blob in its folder and its size in bytes; small enough to travel in a header."""

    name: str
    size_bytes: int


@dataclass(slots=True)
class _Usage:
    """What this process believes the folder holds, between two looks at it."""

    bytes_in_all: int = 0
    bytes_since_look: int = 0


def content_name(packed: Packed) -> str:
    """Return the name under which equal payloads are the same blob: BLAKE2b over the content."""
    digest = hashlib.blake2b(digest_size=20)
    for piece in [packed] if isinstance(packed, bytes) else packed.buffers:
        digest.update(piece)
    return f"c{digest.hexdigest()}"


def is_content_name(name: str) -> bool:
    """Tell whether a blob is named by its content, so that the name always means the same value."""
    return name.startswith("c")


class BlobFolder:
    """A folder of blobs, used by several processes at once; every method may be called from any thread.

    `max_bytes` is the quota of the folder (`None`: no quota but the file system's). Each process looks at the whole
    folder after writing a sixteenth of it, so the quota may be overrun by that much per process. With `sync` a blob is
    on disk when `create` returns, which the durability class `fsync` needs.
    """

    def __init__(self, path: Path | str, *, max_bytes: int | None = None, sync: bool = False) -> None:
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.sync = sync
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = f"{self.path}/"
        self._spares = _Spares(self._root + _SPARES)
        self._owner = os.getpid()
        self._prefix = self._fresh_prefix()
        self._numbers = itertools.count()
        self._usage = _Usage(bytes_in_all=self.total_bytes() if max_bytes is not None else 0)

    def create(self, packed: Packed, name: str | None = None) -> Blob:
        """Write a payload and return its blob; without a `name` a new one is made up.

        A blob of that name which exists already is taken as it is: names that are given are names of content (see
        `content_name`). Raises `BlobsFull` when the quota or the file system is full.
        """
        size_bytes = len(packed)
        if self.max_bytes is not None:
            self._admit(size_bytes)
        if name is None:
            # Nobody knows this name before it is returned, so the file needs no other name while it is being written.
            name = self._new_name()
            self._write(self._root + name, packed, size_bytes)
            return Blob(name, size_bytes)
        final = self._path_of(name)
        if _MADE_UP.fullmatch(name):
            raise ValueError(f"{name!r} looks like a made-up name, which is used only once; see content_name")
        if not os.path.exists(final):
            unfinished = f"{self._root}{_UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}"
            self._write(unfinished, packed, size_bytes)
            os.rename(unfinished, final)
            if self.sync:
                self._sync_folder()
        return Blob(name, size_bytes)

    def open(self, name: str) -> memoryview:
        """Return the content of a blob as a writable view, private to the caller and valid as long as it is used.

        Raises `BlobMissing` when there is no such blob, or it was freed while it was being read.
        """
        path = self._path_of(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._missing(name) from None
        try:
            status = os.fstat(descriptor)
            if status.st_size > COPY_BYTES:
                mapped = _map(descriptor, status.st_size)
                if mapped is not None:
                    return memoryview(mapped)
            content = memoryview(bytearray(status.st_size))
            complete = _read(descriptor, content)
        finally:
            os.close(descriptor)
        # A freed file may be written over by the next blob. If the name still leads to it, that had not begun.
        if not complete or not self._leads_to(path, status):
            raise self._missing(name)
        return content

    def unlink(self, name: str) -> bool:
        """Free a blob; return whether there was one. Views of it stay valid."""
        path = self._path_of(name)
        try:
            size_bytes = os.stat(path).st_size
            # A name of content may come back, and with the same file a reader could not tell; a made-up one never does.
            reusable = 0 < size_bytes <= COPY_BYTES and _MADE_UP.fullmatch(name)
            if not (reusable and self._spares.put(path)):
                os.unlink(path)
        except FileNotFoundError:
            return False
        self._usage.bytes_in_all = max(0, self._usage.bytes_in_all - size_bytes)
        return True

    def names(self) -> list[str]:
        """Return the names of all blobs, in no order; one that another process is just writing may be among them."""
        return [entry.name for entry in self._entries()]

    def total_bytes(self) -> int:
        """Return the size of all blobs together, with what is kept aside for the next ones."""
        total = sum(_size(entry) for entry in self._entries())
        return total + self._spares.total_bytes()

    def sweep(self) -> int:
        """Remove what processes that no longer exist have left unfinished; return the number of files."""
        removed = 0
        with os.scandir(self._root) as entries:
            for entry in entries:
                if entry.name.startswith(_UNFINISHED) and not _is_alive(entry.name):
                    os.unlink(entry.path)
                    removed += 1
        return removed

    def remove(self) -> None:
        """Remove the folder with everything in it; views of blobs stay valid."""
        self._spares.remove()
        with os.scandir(self._root) as entries:
            for entry in entries:
                os.unlink(entry.path)
        self.path.rmdir()

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self._root) as entries:
            yield from (entry for entry in entries if _NAME.fullmatch(entry.name))

    def _new_name(self) -> str:
        if self._owner != os.getpid():  # forked: two processes must not count under one prefix
            self._owner = os.getpid()
            self._prefix = self._fresh_prefix()
        return f"{self._prefix}{next(self._numbers):x}"

    def _fresh_prefix(self) -> str:
        return f"b{secrets.token_hex(8)}-"

    def _path_of(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a blob: expected {_NAME.pattern} and nothing else")
        return self._root + name

    def _missing(self, name: str) -> BlobMissing:
        return BlobMissing(f"there is no blob {name!r} in {self.path}: it was freed, or belongs to another machine")

    def _leads_to(self, path: str, status: os.stat_result) -> bool:
        try:
            now = os.stat(path)
        except FileNotFoundError:
            return False
        return (now.st_ino, now.st_dev) == (status.st_ino, status.st_dev)

    def _admit(self, size_bytes: int) -> None:
        assert self.max_bytes is not None
        usage = self._usage
        look_every = self.max_bytes // 16
        if usage.bytes_in_all + size_bytes > self.max_bytes or usage.bytes_since_look > look_every:
            usage.bytes_in_all = self.total_bytes()
            usage.bytes_since_look = 0
            if usage.bytes_in_all + size_bytes > self.max_bytes:
                self._spares.remove_files()
                usage.bytes_in_all = self.total_bytes()
            if usage.bytes_in_all + size_bytes > self.max_bytes:
                raise BlobsFull(
                    f"a payload of {size_bytes} bytes does not fit into {self.path}: {usage.bytes_in_all} of "
                    f"{self.max_bytes} bytes are in use; free results, or raise max_disk"
                )
        usage.bytes_in_all += size_bytes
        usage.bytes_since_look += size_bytes

    def _write(self, path: str, packed: Packed, size_bytes: int) -> None:
        try:
            self._write_new(path, packed, size_bytes)
        except FileNotFoundError:
            nearness.ensure(self.path)
            self._spares = _Spares(self._root + _SPARES)
            self._write_new(path, packed, size_bytes)
        if self.sync:
            self._sync_folder()

    def _write_new(self, path: str, packed: Packed, size_bytes: int) -> None:
        try:
            if 0 < size_bytes <= COPY_BYTES and self._spares.take(path):
                descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            else:
                descriptor = os.open(path, _FLAGS, 0o600)
            try:
                _write_all(descriptor, packed)
                if os.fstat(descriptor).st_size != size_bytes:
                    os.ftruncate(descriptor, size_bytes)
                if self.sync:
                    os.fsync(descriptor)
            except BaseException:
                os.unlink(path)
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise BlobsFull(
                f"a payload of {size_bytes} bytes could not be written to {self.path}: {error.strerror}; "
                f"free results, or give the file system more room"
            ) from error

    def _sync_folder(self) -> None:
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Spares:
    """Freed files of a folder, to be written over. Any process may put and take; a rename decides who got it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: list[str] = []
        self._held = 0
        self._misses = 0
        self._skip = 0
        os.makedirs(path, mode=0o700, exist_ok=True)

    def put(self, path: str) -> bool:
        """Keep the file at `path` aside; return whether it was taken."""
        if self._held >= MOST_SPARES:
            self._held = len(os.listdir(self._path))
            if self._held >= MOST_SPARES:
                return False
        target = f"{self._path}/{secrets.token_hex(8)}"
        os.rename(path, target)
        self._held += 1
        self._known.append(target)
        return True

    def take(self, path: str) -> bool:
        """Put a spare file at `path`; return whether there was one."""
        known = self._known
        if not known:
            self._look()
        while known:
            try:
                os.rename(known.pop(), path)
            except FileNotFoundError:  # another process took it
                continue
            except IndexError:  # another thread did
                return False
            self._held = max(0, self._held - 1)
            return True
        return False

    def _look(self) -> None:
        """List what others put aside, ever more rarely while there is nothing (a listing costs a fifth of a blob)."""
        if self._skip > 0:
            self._skip -= 1
            return
        self._known += [f"{self._path}/{name}" for name in os.listdir(self._path)]
        self._held = len(self._known)
        self._misses = 0 if self._known else min(self._misses + 1, 6)
        self._skip = 2**self._misses - 1

    def total_bytes(self) -> int:
        with os.scandir(self._path) as entries:
            return sum(_size(entry) for entry in entries)

    def remove_files(self) -> None:
        self._known.clear()
        for name in os.listdir(self._path):
            try:
                os.unlink(f"{self._path}/{name}")
            except FileNotFoundError:
                continue
        self._held = 0

    def remove(self) -> None:
        self.remove_files()
        os.rmdir(self._path)


def _write_all(descriptor: int, packed: Packed) -> None:
    pieces: list[bytes | memoryview] = [packed] if isinstance(packed, bytes) else list(packed.buffers)
    first = 0
    while first < len(pieces):
        written = os.writev(descriptor, pieces[first : first + MOST_PIECES])
        while first < len(pieces) and written >= len(pieces[first]):
            written -= len(pieces[first])
            first += 1
        if written:
            pieces[first] = memoryview(pieces[first])[written:]


def _read(descriptor: int, content: memoryview) -> bool:
    """Fill `content` from the start of the file; return whether it was long enough."""
    done = 0
    while done < len(content):
        count = os.preadv(descriptor, [content[done:]], done)
        if count == 0:
            return False
        done += count
    return True


def _map(descriptor: int, size_bytes: int) -> mmap.mmap | None:
    """Map a file privately; `None` when this process has no descriptors left, which a mapping holds before 3.13."""
    try:
        if sys.version_info >= (3, 13):
            return mmap.mmap(descriptor, size_bytes, access=mmap.ACCESS_COPY, trackfd=False)
        return mmap.mmap(descriptor, size_bytes, access=mmap.ACCESS_COPY)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return None
        raise


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0


def _is_alive(unfinished: str) -> bool:
    pid = unfinished.removeprefix(_UNFINISHED).partition("-")[0]
    return pid.isdigit() and os.path.exists(f"/proc/{pid}")
