"""Results of calls on threads of this process, kept for those that call the same. Pure, and under the core's lock."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from blockyard.futures import TaskFuture

TTL_SECONDS: Final = 30 * 24 * 3600.0
MOST_RESULTS: Final = 100_000


class Kept(NamedTuple):
    """A result: the object itself, which all that ask for it share."""

    value: Any
    at: float


class ThreadCache:
    """What is known by which memo, and who computes what is not known yet."""

    def __init__(self, ttl: float = TTL_SECONDS, most_results: int = MOST_RESULTS) -> None:
        self._ttl = ttl
        self._most = most_results
        self._results: OrderedDict[bytes, Kept] = OrderedDict()
        """Oldest first."""
        self._computing: dict[bytes, TaskFuture[Any]] = {}

    def find(self, memo: bytes, now: float) -> Kept | None:
        """The result, unless there is none or it is too old."""
        found = self._results.get(memo)
        if found is not None and now - found.at > self._ttl:
            del self._results[memo]
            return None
        return found

    def leader(self, memo: bytes, future: TaskFuture[Any]) -> TaskFuture[Any] | None:
        """The future whose result is to be waited for; None: it is this one's from now on to be computed."""
        leader = self._computing.setdefault(memo, future)
        return leader if leader is not future else None

    def keep(self, memo: bytes, value: Any, now: float) -> None:
        """Note a result, unless there is one; the oldest go when there are too many."""
        self._results.setdefault(memo, Kept(value, now))
        while len(self._results) > self._most:
            self._results.popitem(last=False)

    def ended(self, memo: bytes, future: TaskFuture[Any]) -> None:
        """A task ended, however: nobody waits for it any more."""
        if self._computing.get(memo) is future:
            del self._computing[memo]
