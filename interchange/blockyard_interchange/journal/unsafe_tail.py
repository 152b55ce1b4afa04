"""The commits that a database server has confirmed but may not have on disk yet, kept so that they can be repeated.

Bounded: when `is_long`, the store makes the next commit a synced one, which makes all before it safe. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

_MOST_COMMITS = 256
_MOST_BYTES = 4 * 1024 * 1024


class UnsafeTail:
    """Chunks of the last commits, oldest first. True when there was any commit, also one that only dropped."""

    def __init__(self) -> None:
        self._commits = 0
        self._bytes = 0
        self._chunks: list[tuple[int, bytes]] = []

    def __bool__(self) -> bool:
        return self._commits > 0

    @property
    def is_long(self) -> bool:
        """Whether the next commit should be synced, so that all this can be forgotten."""
        return self._commits >= _MOST_COMMITS or self._bytes >= _MOST_BYTES

    def add(self, append: Sequence[tuple[int, bytes]]) -> None:
        """Remember a commit that was confirmed without being synced."""
        self._commits += 1
        self._chunks += append
        self._bytes += sum(len(body) for _, body in append)

    def since(self, number: int) -> list[tuple[int, bytes]]:
        """The chunks from that number on, as far as they are known."""
        return [chunk for chunk in self._chunks if chunk[0] >= number]

    def clear(self) -> None:
        """All of it is safe, or no longer ours to repeat."""
        self._commits = self._bytes = 0
        self._chunks.clear()
