"""A payload before it is written out: one piece of bytes, or several that need not be copied together.

Apart from `payload`, so that who only moves or stores payloads (blob folders, the interchange) imports no pickling.
"""

from __future__ import annotations


class Parts:
    """A payload that has not been copied together: its pieces in order, and their total size in bytes.

    The pieces are views of the user's own arrays. Write them out before control returns to the user, who may change
    the arrays the next moment.
    """

    __slots__ = ("buffers", "size_bytes")

    def __init__(self, buffers: list[bytes | memoryview], size_bytes: int) -> None:
        self.buffers = buffers
        self.size_bytes = size_bytes

    def __len__(self) -> int:
        return self.size_bytes

    def __repr__(self) -> str:
        return f"Parts({len(self.buffers)} pieces, {self.size_bytes} bytes)"

    def join(self) -> bytes:
        """Return the payload as one copy."""
        return b"".join(self.buffers)


Packed = bytes | Parts
"""A payload ready to be sent: small ones as `bytes`, those with large buffers as `Parts`."""


def packed_bytes(packed: Packed) -> bytes:
    """Return a payload as one `bytes`, copying only when it is in parts."""
    return packed if isinstance(packed, bytes) else packed.join()


def packed_size(packed: Packed) -> int:
    """Return the size in bytes of a payload when written out."""
    return len(packed)
