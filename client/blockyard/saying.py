"""`event`: a line of a task's, or a program's, own in the history, when it happens.

Those who follow the stream see it at once.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any, Final, Protocol

from blockyard import this_try
from blockyard.declaring import as_json
from blockyard.errors import NotSendable
from blockyard.ids import TaskId, task_name
from blockyard.this_try import Way
from blockyard.wire.monitoring import MAX_NAME, MAX_TEXT, Event, micros
from blockyard.wire.records import Lease

MOST_OF_TRY: Final = 1_000
"""Events of one try; each costs its worker's manager a message."""
_MOST_TRIES: Final = 1024
"""That are remembered: those that spoke last."""


class _Said:
    """How often tries have said something so far: a worker's one, or those of several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Lease, int] = {}
        self._at_us = 0

    def next_of_program(self, now_us: int) -> int:
        """An instant for one more event of what is no try, later than that of the last."""
        with self._lock:
            self._at_us = max(now_us, self._at_us + 1)
            return self._at_us

    def next(self, lease: Lease, now_us: int) -> int:
        """An instant for one more event, later than that of the last; 0 when there were enough."""
        with self._lock:
            count = self._counts.pop(lease, 0)
            self._counts[lease] = min(count + 1, MOST_OF_TRY)
            if len(self._counts) > _MOST_TRIES:
                del self._counts[next(iter(self._counts))]
            if count >= MOST_OF_TRY:
                return 0
            self._at_us = max(now_us, self._at_us + 1)
            return self._at_us


_said = _Said()


class Speaker(Protocol):
    """A client, as a program that is no task speaks by it."""

    def say(self, at_us: int, name: str, text: str) -> bool:
        """Have the history told an event of its run. False when it cannot."""
        ...


_speakers: list[weakref.ref[Speaker]] = []


def speak_by(speaker: Speaker) -> None:
    """From now on `event` goes by this client, as long as it is open, where nothing is a task."""
    _speakers[:] = [one for one in _speakers if one() is not None]
    _speakers.append(weakref.ref(speaker))


def event(name: str, /, **data: Any) -> bool:
    """Have the history told that something happened: ``blockyard.event("epoch", loss=0.3)``.

    It becomes a row of table `events`: `kind` is the name, `text` the data as JSON, `subject` the task that runs (on
    `Client.threads`, in its thread). In a program that is no task it is the run of the client that was opened last and
    has monitoring. Returns whether it was told: not without monitoring, and no more than 1,000 times a try. Like
    samples, it may be dropped when the hub cannot keep up.
    Raises NotSendable when the name is empty or longer than 256 characters, or the data no JSON of at most 4,096.
    """
    if not name or len(name) > MAX_NAME:
        raise NotSendable(f"event {name[:40]!r}: its name has {len(name)} characters; from 1 to {MAX_NAME}")
    text = as_json(f"event {name!r}: field", data).decode()
    if len(text) > MAX_TEXT:
        raise NotSendable(f"event {name!r}: its data have {len(text)} characters as JSON, at most {MAX_TEXT} are taken")
    told = text if data else ""
    around, now_us = this_try.here(), micros(time.time())
    lease = around.lease() if around is not None else Lease(0, 0)
    if around is not None and lease.task:
        at_us = _said.next(lease, now_us)
        return bool(at_us) and around.tell(Event(at_us, name, task_name(TaskId(lease.task)), told), way=Way.PASSING)
    at_us = _said.next_of_program(now_us)
    speakers = (one() for one in reversed(_speakers))
    return any(speaker.say(at_us, name, told) for speaker in speakers if speaker is not None)
