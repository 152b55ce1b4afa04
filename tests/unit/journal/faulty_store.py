"""A store that fails on command: before a commit, or after it, when nobody knows whether it was kept."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from blockyard_interchange.journal import JournalFull, JournalUnavailable, MemoryStore


class Fails(Enum):
    """How the next commit fails, and what became of it."""

    FULL = auto()
    LOST_BEFORE = auto()
    LOST_AFTER = auto()


class FaultyStore(MemoryStore):
    """A memory store; each entry of `plan` fails one commit."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: list[Fails] = []
        self.commits = 0

    def commit(self, append: Sequence[tuple[int, bytes]], drop: Sequence[int], *, sync: bool) -> None:
        match self.plan.pop(0) if self.plan else None:
            case Fails.FULL:
                raise JournalFull("no space left")
            case Fails.LOST_BEFORE:
                raise JournalUnavailable("lost before the commit")
            case Fails.LOST_AFTER:
                super().commit(append, drop, sync=sync)
                raise JournalUnavailable("lost after the commit")
        super().commit(append, drop, sync=sync)
        self.commits += 1
