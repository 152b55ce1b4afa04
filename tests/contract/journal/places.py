"""Where a test keeps its journal: one place, any number of stores on it, as processes that come and go would have."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from blockyard_interchange.journal import MemoryStore, PostgresStore, SQLiteStore

AnyStore = MemoryStore | SQLiteStore | PostgresStore


class Place(NamedTuple):
    """`store` makes a store on the same journal each time; `url` and `name` are for other processes."""

    kind: str
    url: str
    name: str
    store: Callable[[], AnyStore]


def extend(store: AnyStore, *bodies: bytes, drop: int = 0, sync: bool = False) -> list[int]:
    """Append the bodies and drop that many of the oldest chunks, in one commit; the new numbers."""
    first, end = store.bounds()
    append = list(enumerate(bodies, end))
    store.commit(append, range(first, first + drop), sync=sync)
    return [number for number, _ in append]
