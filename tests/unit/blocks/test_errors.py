"""What the error handlers make of a history."""

from collections.abc import Sequence

import pytest

from blockyard.blocks.errors import (
    CarryOn,
    ErrorHandler,
    ErrorLimits,
    FailAll,
    History,
    Outcome,
    PauseUntil,
    breaker,
    describe,
    none,
    simple,
    windowed,
)
from blockyard.blocks.states import JobState, JobStatus
from blockyard.ids import BlockId

LIMITS = ErrorLimits(threshold=3, pause=1.0, max_pause=10.0)


def history(letters: str) -> History:
    """One block a second: `f` failed, `m` missing, `g` good, `k` killed after it had worked."""
    kinds = {"f": (JobState.FAILED, False), "m": (JobState.MISSING, False), "g": (JobState.RUNNING, True)}
    outcomes = []
    for second, letter in enumerate(letters):
        state, proved = kinds.get(letter, (JobState.FAILED, True))
        status = JobStatus(state=state, reason="Reason", message=f"message {second}", log_tail=f"tail {second}")
        outcomes.append(Outcome(block=BlockId(f"b-{second}"), status=status, at=float(second), proved=proved))
    bad = sum(outcome.bad for outcome in outcomes)
    return History(good=len(outcomes) - bad, bad=bad, recent=tuple(outcomes))


@pytest.mark.parametrize(
    "handler, letters, gives_up",
    [
        (none, "ffffffff", False),
        (simple, "ff", False),
        (simple, "fff", True),
        (simple, "fmf", True),
        (simple, "gffffffff", False),
        (simple, "kfff", False),
        (windowed, "ff", False),
        (windowed, "fff", True),
        (windowed, "gfff", True),
        (windowed, "ffgff", False),
        (windowed, "kkkkkk", False),
        (breaker, "ffffffff", False),
    ],
)
def test_a_handler_gives_up_or_not(handler: ErrorHandler, letters: str, gives_up: bool) -> None:
    assert isinstance(handler(history(letters), LIMITS, 1000.0), FailAll) == gives_up


@pytest.mark.parametrize(
    "letters, pause",
    [("fff", 1.0), ("ffff", 2.0), ("mfmfm", 4.0), ("f" * 6, 8.0), ("f" * 7, 10.0), ("f" * 200, 10.0), ("gfff", 1.0)],
)
def test_the_breaker_pauses_twice_as_long_after_each_further_bad_block(letters: str, pause: float) -> None:
    last = len(letters) - 1
    verdict = breaker(history(letters), LIMITS, last + 0.5)
    assert isinstance(verdict, PauseUntil)
    assert verdict.until == last + pause


def test_the_breaker_closes_by_itself_with_one_try_at_a_time() -> None:
    assert breaker(history("fff"), LIMITS, 3.0) == CarryOn(at_most=1)
    assert breaker(history("fffg"), LIMITS, 3.0) == CarryOn()
    assert breaker(history("ff"), LIMITS, 1.0) == CarryOn()


def test_blocks_that_worked_and_were_killed_are_no_reason_for_anything() -> None:
    handlers: Sequence[ErrorHandler] = (none, simple, windowed, breaker)
    assert [handler(history("k" * 50), LIMITS, 50.0) for handler in handlers] == [CarryOn()] * 4


@pytest.mark.parametrize("handler", [simple, windowed, breaker])
def test_a_reason_carries_the_last_evidence(handler: ErrorHandler) -> None:
    verdict = handler(history("ffm"), LIMITS, 2.5)
    assert isinstance(verdict, FailAll | PauseUntil)
    for words in ("b-2", "MISSING", "Reason", "message 2", "tail 2"):
        assert words in verdict.reason


def test_a_reason_has_whole_lines_of_the_end_of_a_long_log() -> None:
    log = "\n".join(f"line {number} of it" for number in range(100))
    status = JobStatus(state=JobState.FAILED, reason="Reason", message="message", log_tail=log)
    said = describe((Outcome(block=BlockId("b"), status=status, at=0.0),), "what")
    first, *others = said.partition("its log ends with:\n")[2].splitlines()
    assert (first[:5], others[-1]) == ("line ", "line 99 of it")
    assert len(said) < 600
