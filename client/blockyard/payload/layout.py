"""How a payload looks as bytes: one layout for calls and values, made so that a worker can map a file and use it.

Without large buffers a payload is a plain pickle. Its first byte is then 0x80, the PROTO opcode with which every
pickle of protocol 2 and above begins, so no tag has to be put in front and nothing is copied.

With large buffers (pickle protocol 5, PEP 574) it is, little-endian, without gaps unless stated::

    offset  size   meaning
    0       1      0x01, the tag of this layout
    1       3      zero
    4       4      n, number of buffers
    8       8      size of the pickle in bytes
    16      8 * n  per buffer: size in bytes; the top bit is set when the original was read-only
    ...            the pickle
    ...            per buffer: zeros up to a multiple of 64 from the start of the payload, then the buffer

Buffers begin at multiples of 64 because files are mapped at page boundaries and numpy, BLAS and AVX-512 like aligned
data. This module knows sizes and offsets only; what the pickle means is the business of `values`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from blockyard.errors import NotLoadable
from blockyard.parts import Packed, Parts

Buffer = bytes | bytearray | memoryview
"""Anything contiguous that a payload may be loaded from."""

PLAIN_TAG: Final = 0x80
PARTED_TAG: Final = 0x01
ALIGNMENT: Final = 64
INLINE_BYTES: Final = 64 * 1024
"""A payload below this is always `bytes`: copying it costs less than handling it in parts."""

_HEAD: Final = struct.Struct("<B3xIQ")
_READ_ONLY: Final = 1 << 63
_PADDING: Final = bytes(ALIGNMENT)


def assemble(pickled: bytes, views: Sequence[memoryview]) -> Packed:
    """Put a pickle and its out-of-band buffers (one-dimensional views of bytes) into the layout."""
    if not views:
        return pickled
    marks = [view.nbytes | _READ_ONLY if view.readonly else view.nbytes for view in views]
    head = _HEAD.pack(PARTED_TAG, len(views), len(pickled)) + struct.pack(f"<{len(views)}Q", *marks)
    pieces: list[bytes | memoryview] = [head, pickled]
    offset = len(head) + len(pickled)
    for view in views:
        gap = -offset % ALIGNMENT
        if gap:
            pieces.append(_PADDING[:gap])
        pieces.append(view)
        offset += gap + view.nbytes
    if offset < INLINE_BYTES:
        return b"".join(pieces)
    return Parts(pieces, offset)


def take_apart(payload: Buffer) -> tuple[memoryview, list[memoryview | bytearray]]:
    """Return the pickle and the buffers of a parted payload; raise `NotLoadable` when the sizes do not add up.

    Buffers are views into `payload`, except that one which was writable is copied when `payload` is read-only: the
    function that gets the array may expect to write into it, as it would in a process pool.
    """
    whole = memoryview(payload)
    if whole.format != "B" or whole.ndim != 1:
        whole = whole.cast("B")
    size = whole.nbytes
    if size < _HEAD.size or whole[0] != PARTED_TAG:
        raise NotLoadable(f"a payload of {size} bytes begins with {bytes(whole[:1])!r}; expected a pickle or tag 0x01")
    _, count, pickle_bytes = _HEAD.unpack_from(whole)
    offset = _HEAD.size + 8 * count
    if offset + pickle_bytes > size:
        raise NotLoadable(f"a payload of {size} bytes announces {count} buffers and a pickle of {pickle_bytes} bytes")
    marks = struct.unpack_from(f"<{count}Q", whole, _HEAD.size)
    pickled = whole[offset : offset + pickle_bytes]
    offset += pickle_bytes
    buffers: list[memoryview | bytearray] = []
    for index, mark in enumerate(marks):
        start = offset + -offset % ALIGNMENT
        offset = start + (mark & ~_READ_ONLY)
        if offset > size:
            raise NotLoadable(f"buffer {index} of a payload of {size} bytes would end at {offset}: it was cut short")
        view = whole[start:offset]
        if mark & _READ_ONLY:
            buffers.append(view.toreadonly())
        else:
            buffers.append(bytearray(view) if whole.readonly else view)
    return pickled, buffers
