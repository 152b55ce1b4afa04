"""`event`: a line of a task's own in the history, when it happens. Those who follow the stream see it at once."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

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


def event(name: str, /, **data: Any) -> bool:
    """Have the history told that something happened in the task that runs: ``blockyard.event("epoch", loss=0.3)``.

    It becomes a row of table `events`: `kind` is the name, `subject` the task, `text` the data as JSON. Returns whether
    it was told: not outside of a task (on `Client.threads`, of its thread), not without monitoring of its pool, and no
    more than 1,000 times a try. Like samples, it may be dropped when the hub cannot keep up.
    Raises NotSendable when the name is empty or longer than 256 characters, or the data no JSON of at most 4,096.
    """
    if not name or len(name) > MAX_NAME:
        raise NotSendable(f"event {name[:40]!r}: its name has {len(name)} characters; from 1 to {MAX_NAME}")
    text = as_json(f"event {name!r}: field", data).decode()
    if len(text) > MAX_TEXT:
        raise NotSendable(f"event {name!r}: its data have {len(text)} characters as JSON, at most {MAX_TEXT} are taken")
    around = this_try.here()
    if around is None:
        return False
    lease = around.lease()
    at_us = _said.next(lease, micros(time.time())) if lease.task else 0
    if not at_us:
        return False
    return around.tell(Event(at_us, name, task_name(TaskId(lease.task)), text if data else ""), way=Way.PASSING)
