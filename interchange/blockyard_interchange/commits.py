"""When to commit, and what waits for it.

A turn whose effects somebody waits for is committed at once, together with the turns before it; one that is of no
urgency waits a little for such company. While the journal cannot be written, turns gather here and the commit is tried
again; nothing that depends on it is done meanwhile.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from blockyard_interchange.core import entries
from blockyard_interchange.core.effects import Effects
from blockyard_interchange.core.stages import Histogram
from blockyard_interchange.journal.errors import JournalFull, JournalUnavailable
from blockyard_interchange.journal.log import Log

_log = logging.getLogger(__name__)

COMPANY_SECONDS: Final = 0.005
"""How long entries that nobody waits for may wait; they are what a crash loses, and nobody was told of them."""
MOST_BYTES: Final = 1 << 20
RETRY_SECONDS: Final = 0.2
CONFIRM_SECONDS: Final = 5.0
"""Without a commit, until it is looked whether the journal is still this interchange's."""


class CommitFigures(NamedTuple):
    """How the journal fares, since the interchange began."""

    seconds: Histogram
    failures: int
    is_failing: bool


class Commits:
    """The turns between the core and the journal. `clock`: monotonic seconds, by which commits are timed."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._seconds = Histogram()
        self._failures = 0
        self.committed_at = 0.0
        """When the last one was done."""
        self._turns: list[Effects] = []
        self._due_at = math.inf
        self._confirmed_at = 0.0
        self.is_failing = False
        """The last commit failed: take nothing more from clients."""

    def add(self, effects: Effects, now: float) -> None:
        """Stage the entries of a turn."""
        for entry in effects.entries:
            self._log.append(entries.encode(entry))
        self._turns.append(effects)
        if not self.is_failing:
            urgent = effects.is_urgent or self._log.staged_bytes > MOST_BYTES
            self._due_at = now if urgent else min(self._due_at, now + COMPANY_SECONDS)

    def seconds_left(self, now: float) -> float:
        """Until `commit` should be called; may be infinite."""
        return max(0.0, self._due_at - now)

    def commit(self, now: float, compact: Callable[[], bool]) -> list[Effects]:
        """Write what is staged and return its turns, oldest first; none when nothing is due, or it can't be written.

        `compact` stages a bounded amount of compaction and says whether there is more; then the next commit is due at
        once, for whoever collects a million results says no more afterwards.
        Raises Fenced and JournalDamaged, after which this interchange must end.
        """
        self._confirm(now)
        if now < self._due_at:
            return []
        began = self._clock()
        try:
            if self.is_failing:
                self._log.confirm()  # there may be nothing to write, which always succeeds
            has_more = compact()
            if self._log.staged_bytes:
                self._confirmed_at = now
            self._log.commit(sync=any(turn.sync for turn in self._turns))
        except (JournalFull, JournalUnavailable) as error:
            self._on_failure(error, now)
            return []
        if self.is_failing:
            _log.info("journal can be written again", extra={"action": "journal-back"})
        self.is_failing = False
        self._due_at = now if has_more else math.inf
        self.committed_at = self._clock()
        self._seconds.add(self.committed_at - began)
        done, self._turns = self._turns, []
        return done

    @property
    def is_waiting(self) -> bool:
        """Some turn waits for its commit."""
        return bool(self._turns)

    def figures(self) -> CommitFigures:
        """A copy."""
        return CommitFigures(self._seconds.copy(), self._failures, self.is_failing)

    def _confirm(self, now: float) -> None:
        """One that was cut off and has nothing to write would not notice that another has taken its place."""
        if now - self._confirmed_at < CONFIRM_SECONDS or self.is_failing:
            return
        self._confirmed_at = now
        try:
            self._log.confirm()
        except JournalUnavailable as error:
            self._on_failure(error, now)

    def _on_failure(self, error: JournalFull | JournalUnavailable, now: float) -> None:
        self._failures += 1
        if not self.is_failing:
            _log.error("journal cannot be written, clients are held until it can: %s", error)
        self.is_failing = True
        self._due_at = now + RETRY_SECONDS
        if isinstance(error, JournalUnavailable):
            try:
                self._log.reopen()
            except JournalUnavailable as again:
                _log.warning("journal still unavailable: %s", again)
