"""The tables of the cache: results of calls, kept for those that call the same. `caching` decides about them."""

from collections import OrderedDict
from typing import Generic, TypeVar

from blockyard.ids import TaskId
from blockyard.wire.records import Body

T = TypeVar("T")

Key = tuple[str, bytes]
"""A pool and what a call is known by there."""


class CachedResult:
    """A result, and of what."""

    __slots__ = ("at", "body", "function", "outputs", "seconds", "size_bytes", "sources", "volatile")

    def __init__(  # noqa: PLR0913 - a record
        self, function: str, at: float, seconds: float, body: Body, outputs: bytes, sources: list[bytes],
        size_bytes: int, *, volatile: bool,
    ) -> None:  # fmt: skip
        self.function = function
        """Its name, for people."""
        self.at = at
        """UTC."""
        self.seconds = seconds
        """How long it ran, and so what a hit saves."""
        self.body: Body = body
        self.outputs = outputs
        self.sources = sources
        """What the results are known by from which this one was made."""
        self.size_bytes = size_bytes
        self.volatile = volatile
        """Not in the journal."""


class Cache(Generic[T]):
    """Of all pools. `T` is the task."""

    __slots__ = ("bytes", "computing", "following", "is_replaying", "memos", "results", "unclaimed")

    def __init__(self) -> None:
        self.results: OrderedDict[Key, CachedResult] = OrderedDict()
        """Oldest first."""
        self.bytes = 0
        """Of all results."""
        self.memos: dict[TaskId, list[bytes]] = {}
        """Of unended tasks with `Flag.CACHED`: what each is known by, and then what it is made from."""
        self.computing: dict[Key, T] = {}
        """The task that runs, or will, for all that are known by the same."""
        self.following: dict[TaskId, T] = {}
        """Task that waits for another's result, to that other one."""
        self.unclaimed: dict[TaskId, T] = {}
        """After a restart: tasks of which it is not decided yet, because managers may be running some of them."""
        self.is_replaying = False
