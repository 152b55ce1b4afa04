"""How far a file journal had got: a small file beside it, so that a tail that vanished is noticed.

SQLite ends its recovery at the first frame of the write-ahead log that is not as written and forgets the rest without
a word: right after a torn write, wrong after a flipped byte or a lost file. So after every commit this file is told
where the journal stands, and at open the journal must have got at least that far. Writing costs one `pwrite`.

A commit that is not synced outlives processes but not the machine; what is said of it counts only during the same boot.
Both kinds have two slots that are written in turn, so that a write cut short by a kill leaves the other one.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple
from zlib import crc32

_RECORD = struct.Struct("<QQQQ")  # epoch, first, end, boot
_CHECK = struct.Struct("<I")
_SLOT_BYTES = _RECORD.size + _CHECK.size
_BOOT_ID = "/proc/sys/kernel/random/boot_id"  # proc(5): new at each boot


class Standing(NamedTuple):
    """Where a journal stands, or at least stood: all three only ever grow."""

    epoch: int
    first: int
    end: int


NOTHING = Standing(0, 1, 1)


class Mark:
    """The file, open for writing from `open` to `close`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = -1
        self._turn = 0
        self._boot = this_boot()

    def open(self) -> Standing:
        """Open or create the file and return the least that the journal must have reached."""
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return least_standing(os.pread(self._file, 4 * _SLOT_BYTES, 0), self._boot)

    def write(self, standing: Standing, *, synced: bool) -> None:
        """Say that the journal has got there. `OSError` when the disk says no; the file is then older, not wrong."""
        record = _RECORD.pack(standing[0], standing[1], standing[2], self._boot)
        self._turn ^= 1
        slot = self._turn + 2 if synced else self._turn
        os.pwrite(self._file, record + _CHECK.pack(crc32(record)), slot * _SLOT_BYTES)

    def close(self) -> None:
        """Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read_mark(path: str) -> Standing:
    """What a mark says, without opening it for writing; `NOTHING` when there is none."""
    try:
        with open(path, "rb") as file:
            return least_standing(file.read(4 * _SLOT_BYTES), this_boot())
    except FileNotFoundError:
        return NOTHING


def least_standing(content: bytes, boot: int) -> Standing:
    """The furthest that the readable slots vouch for: slots 0 and 1 during the same boot, 2 and 3 always."""
    furthest = NOTHING
    for slot in range(len(content) // _SLOT_BYTES):
        record = content[slot * _SLOT_BYTES : slot * _SLOT_BYTES + _RECORD.size]
        (check,) = _CHECK.unpack_from(content, slot * _SLOT_BYTES + _RECORD.size)
        if crc32(record) != check:
            continue  # never written, cut short by a kill, or damaged: then the other slot or nothing vouches
        epoch, first, end, written_in = _RECORD.unpack(record)
        if slot >= 2 or written_in == boot:
            furthest = Standing(max(furthest.epoch, epoch), max(furthest.first, first), max(furthest.end, end))
    return furthest


def this_boot() -> int:
    """64 bits that differ from boot to boot."""
    with open(_BOOT_ID, "rb") as file:
        return int(file.read().strip().replace(b"-", b"")[:16], 16)
