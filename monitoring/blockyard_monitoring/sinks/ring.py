"""The last events, numbered, for any number of followers at any place in them. A slow one misses some and is told.

By which door a follower comes is not seen here: it has a place (an event's ``id``), and what it wants and may see.
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from blockyard.ids import TaskId, outer_session, session_of
from blockyard.wire.monitoring import AnyRecord, Run, Tasks
from blockyard_monitoring.bus import parts
from blockyard_monitoring.sinks.naming import line

_MOST_PARTS: Final = 200_000
"""Rows that are kept, whatever the number of events: one may tell of thousands of tries."""
_MOST_EVENTS: Final = 500
_MOST_BYTES: Final = 1 << 20
"""That a follower is shown at once, or a single event."""
_MOST_SESSIONS: Final = 100_000


class Event(NamedTuple):
    """One record, with its number, which counts up by one, and the pool that it is of; '' when that is not known."""

    number: int
    record: AnyRecord
    pool: str
    parts: int


class Wanted(NamedTuple):
    """What a follower wants to see, empty: all; and what it may."""

    kinds: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    own_pools: frozenset[str] | None = None
    """The only ones that it may see, besides what is of its `user`; None: all."""
    user: str = ""


class Shown(NamedTuple):
    """An event as a follower is shown it: JSON, under its name."""

    id: str
    kind: str
    data: bytes


class _Session(NamedTuple):
    run: str
    user: str


class Ring:
    """Any thread may append and read. `most`: events that are kept."""

    def __init__(self, most: int) -> None:
        self._changed = threading.Condition()
        self._events: deque[Event] = deque(maxlen=most)
        self._parts = 0
        self._number = 0
        self._sessions: dict[int, _Session] = {}
        self._is_closed = False
        self._incarnation = secrets.token_hex(4)
        self.on_change: Callable[[], None] | None = None
        """Called after events came, by the thread that appended them."""

    def append(self, records: Iterable[tuple[AnyRecord, str]]) -> None:
        """Add events: records with the only pool that who told them may tell of; '': any."""
        with self._changed:
            for record, pool in records:
                self._number += 1
                self._make_room()
                event = Event(self._number, record, pool or getattr(record, "pool", ""), parts(record))
                self._events.append(event)
                self._parts += event.parts
                if isinstance(record, Run | Tasks):
                    self._know(record)
            self._changed.notify_all()
        if self.on_change is not None:
            self.on_change()

    def close(self) -> None:
        """Let all followers go."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def id(self, number: int) -> str:
        """By which a follower goes on behind the event of this number, in this ring and no other."""
        return f"{self._incarnation}-{number}"

    def place(self, after: str) -> int | None:
        """The number that an id names; the last one for ''; None: it is of another ring."""
        before, _, number = after.partition("-")
        if not after:
            return self._number
        return int(number) if before == self._incarnation and number.isdecimal() else None

    def after(self, number: int, timeout: float, most: int = _MOST_EVENTS) -> tuple[list[Event], int] | None:
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

    def is_wanted(self, event: Event, wanted: Wanted) -> bool:
        """Whether a follower wants to see it, and may."""
        record, session = event.record, self._session_of(event.record)
        if wanted.kinds and type(record).__name__ not in wanted.kinds:
            return False
        if wanted.pools and event.pool not in wanted.pools:
            return False
        if wanted.runs and (getattr(record, "run", None) or session.run) not in wanted.runs:
            return False
        if wanted.own_pools is None or event.pool in wanted.own_pools:
            return True
        return bool(wanted.user) and session.user == wanted.user

    def _make_room(self) -> None:
        while self._events and (self._parts > _MOST_PARTS or len(self._events) == self._events.maxlen):
            self._parts -= self._events.popleft().parts

    def _know(self, record: Run | Tasks) -> None:
        """Of a session: its run, and whose it is, which only a `Run` says."""
        user = record.user if isinstance(record, Run) else self._sessions.get(record.session, _UNKNOWN).user
        self._sessions[record.session] = _Session(record.run, user)
        while len(self._sessions) > _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def _session_of(self, record: AnyRecord) -> _Session:
        if isinstance(record, Run | Tasks):
            return self._sessions.get(record.session, _UNKNOWN)
        task = getattr(record, "submission", 0) or getattr(record, "task", 0) or getattr(record, "first", 0)
        return self._sessions.get(outer_session(session_of(TaskId(task))), _UNKNOWN)


_UNKNOWN: Final = _Session("", "")


class Follower:
    """One follower: its place, and what it is shown next."""

    def __init__(self, ring: Ring, wanted: Wanted, after: str) -> None:
        """`after`: the id behind which it goes on; '': from now on."""
        place = ring.place(after)
        self._ring = ring
        self._wanted = wanted
        self._place = place or 0
        self._is_stranger = place is None

    @property
    def after(self) -> str:
        """The id behind which it would go on."""
        return self._ring.id(self._place)

    def next(self, timeout: float) -> list[Shown] | None:
        """What came since, in portions, as far as it is wanted; waits for it. None: nothing will come any more."""
        if self._is_stranger:  # of another hub: nobody knows how many it missed
            self._is_stranger = False
            return [Shown(self.after, "lost", b'{"count":null}')]
        found = self._ring.after(self._place, timeout)
        if found is None:
            return None
        events, missed = found
        shown: list[Shown] = []
        if missed:
            self._place = events[0].number - 1
            shown.append(Shown(self.after, "lost", b'{"count":%d}' % missed))
        size = 0
        for event in events:
            self._place = event.number
            if self._ring.is_wanted(event, self._wanted):
                data = line(event.record)
                shown.append(Shown(self.after, type(event.record).__name__, data))
                size += len(data)
                if size >= _MOST_BYTES:
                    break
        return shown

    @property
    def has_more(self) -> bool:
        """Whether something is there behind its place."""
        return self._is_stranger or self._place < (self._ring.place("") or 0)
