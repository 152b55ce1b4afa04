"""The last events, numbered, for any number of followers at any place in them. A slow one misses some and is told."""

import threading
from collections import deque
from typing import NamedTuple

from blockyard.wire.monitoring import AnyRecord, Run, Tasks


class Event(NamedTuple):
    """One record, with its number, which counts up by one."""

    number: int
    record: AnyRecord


class Wanted(NamedTuple):
    """What a follower wants to see; empty: all."""

    kinds: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()


class Ring:
    """Any thread may append and read. `most`: events that are kept."""

    def __init__(self, most: int) -> None:
        self._changed = threading.Condition()
        self._events: deque[Event] = deque(maxlen=most)
        self._number = 0
        self._runs: dict[int, str] = {}
        """Of sessions."""
        self._is_closed = False

    @property
    def number(self) -> int:
        """Of the last event."""
        return self._number

    def append(self, records: list[AnyRecord]) -> None:
        """Add events."""
        with self._changed:
            for record in records:
                self._number += 1
                self._events.append(Event(self._number, record))
                if isinstance(record, Run | Tasks):
                    self._runs[record.session] = record.run
            self._changed.notify_all()

    def close(self) -> None:
        """Let all followers go."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def after(self, number: int, timeout: float, most: int = 500) -> tuple[list[Event], int] | None:
        """The next events behind this number, and how many of them are not kept any more; waits for the first.

        None: it is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number > number or self._is_closed, timeout)
            if self._is_closed:
                return None
            if self._number <= number:
                return [], 0
            first = self._events[0].number
            missed = max(0, first - number - 1)
            start = max(0, number + 1 - first)
            stop = min(len(self._events), start + most)
            return [self._events[place] for place in range(start, stop)], missed

    def is_wanted(self, record: AnyRecord, wanted: Wanted) -> bool:
        """Whether a follower wants to see it."""
        if wanted.kinds and type(record).__name__ not in wanted.kinds:
            return False
        if wanted.pools and getattr(record, "pool", None) not in wanted.pools:
            return False
        return not wanted.runs or self._run_of(record) in wanted.runs

    def _run_of(self, record: AnyRecord) -> str:
        run = getattr(record, "run", None)
        if run is not None:
            return str(run)
        task = getattr(record, "submission", None) or getattr(record, "task", None) or getattr(record, "first", None)
        return self._runs.get(task >> 32 & ~(1 << 31), "") if isinstance(task, int) else ""
