"""What to do when blocks end badly: go on, wait, or give the pool up. Pure: history and `now` in, verdict out.

Bad is a block that FAILED or is MISSING without ever having proved itself. One that worked and was killed later is
replaced like any other; a pool must survive any number of those. What a verdict leads to is left to `ledger` and
`executor`. All instants are seconds of one monotonic clock.

Plug-ins: entry-point group `blockyard.error_handlers`, suite `suites.ErrorHandlerSuite`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from blockyard import plugins
from blockyard.blocks.states import JobState, JobStatus
from blockyard.ids import BlockId
from blockyard.plugins import PluginError

BAD: Final = frozenset({JobState.FAILED, JobState.MISSING})
"""Ends that are an error: the others were asked for, expected, or in order (Parsl's rule)."""

MAX_DOUBLINGS: Final = 32
"""Beyond this many doublings a pause has long reached its maximum; keeps the arithmetic finite."""


TOLD: Final = 400
"""Characters of the end of a block's log that a verdict tells; the block's own status has more."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one block. `at`: when it ended, or when it proved itself, if it still lives.

    `proved`: a manager of it registered and then finished a task or lived for a while.
    """

    block: BlockId
    status: JobStatus
    at: float
    proved: bool = False

    @property
    def bad(self) -> bool:
        return self.status.state in BAD and not self.proved


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The blocks of a pool that have ended or proved themselves.

    `good` and `bad` count all of them since the pool was opened; `recent` holds the last ones, oldest first.
    """

    good: int = 0
    bad: int = 0
    recent: tuple[Outcome, ...] = ()

    def bad_streak(self) -> tuple[Outcome, ...]:
        """Return the bad blocks since the last good one, oldest first."""
        streak: list[Outcome] = []
        for outcome in reversed(self.recent):
            if not outcome.bad:
                break
            streak.append(outcome)
        return tuple(reversed(streak))


class ErrorLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The figures that an error handler works with.

    `threshold`: so many bad blocks are too many, from 1. `pause`: seconds of the first pause; it doubles with each
    further bad block, up to `max_pause`.
    """

    threshold: int = 3
    pause: float = 1.0
    max_pause: float = 60.0


class CarryOn(msgspec.Struct, frozen=True, tag="carry-on"):
    """Start blocks as the strategy says; `at_most`: with no more than so many unproved ones at a time."""

    at_most: int | None = None


class PauseUntil(msgspec.Struct, frozen=True, tag="pause"):
    """Start no block before the instant `until`; those that live go on."""

    until: float
    reason: str


class FailAll(msgspec.Struct, frozen=True, tag="fail-all"):
    """Give the pool up: its tasks fail with this reason."""

    reason: str


Verdict: TypeAlias = CarryOn | PauseUntil | FailAll

ErrorHandler: TypeAlias = Callable[[History, ErrorLimits, float], Verdict]
"""(history, limits, now) -> verdict."""


def none(history: History, limits: ErrorLimits, now: float) -> Verdict:
    """Go on, whatever happens. A pool whose blocks cannot start then starts them for ever."""
    return CarryOn()


def simple(history: History, limits: ErrorLimits, now: float) -> Verdict:
    """Give up when there were `threshold` blocks or more and all of them were bad (Parsl's default)."""
    if history.good == 0 and history.bad >= limits.threshold:
        return FailAll(describe(history.bad_streak(), f"all {history.bad} blocks so far failed"))
    return CarryOn()


def windowed(history: History, limits: ErrorLimits, now: float) -> Verdict:
    """Give up when the last `threshold` blocks were all bad."""
    streak = history.bad_streak()
    if len(streak) >= limits.threshold:
        return FailAll(describe(streak, f"the last {len(streak)} blocks failed"))
    return CarryOn()


def breaker(history: History, limits: ErrorLimits, now: float) -> Verdict:
    """Pause when the last `threshold` blocks were all bad, and try again by itself.

    After the pause one block at a time may try; the first that proves itself ends the matter. No task ever fails by
    this handler: it waits.
    """
    streak = history.bad_streak()
    excess = len(streak) - limits.threshold
    if excess < 0:
        return CarryOn()
    pause = min(limits.max_pause, limits.pause * 2.0 ** min(excess, MAX_DOUBLINGS))
    until = max(outcome.at for outcome in streak) + pause
    if now < until:
        last = streak[-1]
        reason = (
            f"its last {len(streak)} blocks failed. Tasks wait until that is mended; one block is tried after each "
            f"pause, of {pause:g} s now, {limits.max_pause:g} s at most. Last was {_ended(last)} {last.status.in_words}"
        )
        return PauseUntil(until=until, reason=reason)
    return CarryOn(at_most=1)


def describe(outcomes: tuple[Outcome, ...], what: str) -> str:
    """Say what happened, with the evidence of the last bad block."""
    if not outcomes:
        return what
    last = outcomes[-1]
    tail = _last_lines(last.status.log_tail.strip())
    end = f"; its log ends with:\n{tail}" if tail else ""
    return f"{what}; last was {_ended(last)} {last.status.message}{end}"


def _ended(outcome: Outcome) -> str:
    return f"block {outcome.block}: {outcome.status.state} ({outcome.status.reason})"


def _last_lines(log: str) -> str:
    """Whole lines, where there is one within what is told: the message goes into a condition of 1,024 characters."""
    if len(log) <= TOLD:
        return log
    cut = log[-TOLD:]
    return cut.partition("\n")[2] or cut


def find(name: str) -> ErrorHandler:
    """Return the handler that is registered as `name`; raises PluginError with the list of those there are."""
    found = plugins.load(plugins.ERROR_HANDLERS, name)
    if not callable(found):
        raise PluginError(f"error handler {name!r} is {found!r}: a handler is a function, see blockyard.blocks.errors")
    return found
