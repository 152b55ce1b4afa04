"""What has become of a pool's blocks, for the error policy; and how many may be started now. Pure.

All is derived from the blocks that the API server holds, so that a new leader judges as the old one did. Only blocks
made from the pool's present template count: who changes the template starts afresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from blockyard.blocks import errors
from blockyard.blocks.errors import CarryOn, ErrorLimits, FailAll, History, Outcome, PauseUntil, Verdict
from blockyard.blocks.ledger import STUMBLE_SECONDS
from blockyard.blocks.states import JobState
from blockyard.ids import BlockId
from blockyard.kube.quantities import seconds
from blockyard.kube.times import instant
from blockyard_operator.core.objects import Block
from blockyard_operator.core.standing import read_job
from blockyard_operator.resources.pool import ErrorPolicy
from blockyard_operator.resources.shape import FailureAction

MINUTE: Final = 60.0

HALTING: Final = frozenset({"PythonUnsupported", "Refused"})
"""Ends that no repetition mends: the image, or the release, must change."""
_MANY: Final = 1_000_000
"""More blocks than are ever wanted at once."""


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """How many blocks may be started now; `until`: when to ask again; why not more, as (reason, message)."""

    count: int
    until: float | None = None
    reason: str = ""
    message: str = ""
    given_up: bool = False


def history_of(blocks: Sequence[Block], *, proved: bool) -> History:
    """What the error handler judges by. `proved`: a block of this template worked once, though it is forgotten."""
    outcomes = sorted((one for block in blocks if (one := _outcome(block)) is not None), key=lambda one: one.at)
    good = sum(not one.bad for one in outcomes)
    bad = sum(one.bad for one in outcomes)
    return History(good=good + proved, bad=bad, recent=tuple(outcomes))


def _outcome(block: Block) -> Outcome | None:
    job = read_job(block.status.job_status)
    if job is None:
        return None
    name, proved = BlockId(block.meta.name), block.status.proved
    if not job.terminal:
        at = instant(block.status.registered_at)
        return Outcome(block=name, status=job, at=at, proved=True) if proved and at is not None else None
    at = job.ended_at or block.meta.created_at
    if block.status.action is FailureAction.IGNORE:
        return None
    if block.status.action in (FailureAction.COUNT, FailureAction.HALT):
        return Outcome(block=name, status=msgspec.structs.replace(job, state=JobState.FAILED), at=at)
    outcome = Outcome(block=name, status=job, at=at, proved=proved)
    return outcome if outcome.bad or proved else None


def judge(policy: ErrorPolicy, history: History, now: float) -> Verdict:
    """Ask the pool's error policy: one of `blockyard.blocks.errors`."""
    limits = ErrorLimits(threshold=policy.threshold, pause=seconds(policy.pause), max_pause=seconds(policy.max_pause))
    return errors.find(policy.name.value)(history, limits, now)


def allowance(policy: ErrorPolicy, blocks: Sequence[Block], now: float, *, nodes: int, proved: bool) -> Allowance:
    """How many blocks may be started, whatever the strategy wants.

    A template that has not proved itself gets `unprovedBlocks` tries at a time, one that fails `podsPerMinute` pods.
    """
    halted = next((block for block in blocks if _halts(block)), None)
    if halted is not None and halted.status.job_status is not None:
        job = halted.status.job_status
        hint = "change the pool, or delete that block, to try again"
        return Allowance(count=0, reason=job.reason, message=f"block {halted.meta.name}: {job.message}; {hint}")
    history = history_of(blocks, proved=proved)
    verdict = judge(policy, history, now)
    match verdict:
        case FailAll(reason=reason):
            return Allowance(count=0, reason="GivenUp", message=reason, given_up=True)
        case PauseUntil(until=until, reason=reason):
            return Allowance(count=0, until=until, reason="BlocksFailing", message=reason)
    return _paced(policy, verdict, blocks, history, now, nodes)


def _paced(
    policy: ErrorPolicy, verdict: Verdict, blocks: Sequence[Block], history: History, now: float, nodes: int
) -> Allowance:
    streak = history.bad_streak()
    if history.good and not streak and not any(_is_hasty(block, now) for block in blocks):
        return Allowance(count=_MANY)
    unproved = [block for block in blocks if not block.status.proved and not _ended(block)]
    limit, reason, why = policy.unproved_blocks, "BlocksUnproved", "a block of this template has yet to prove itself"
    if isinstance(verdict, CarryOn) and verdict.at_most is not None:  # nothing is well again before one works
        limit, reason = min(limit, verdict.at_most), "BlocksFailing"
        why = errors.describe(streak, f"the last {len(streak)} blocks failed; {limit} is tried at a time")
    count, until = limit - len(unproved), None
    if streak:
        stumbled = max(one.at for one in streak) + STUMBLE_SECONDS
        if now < stumbled:
            message = errors.describe(streak, "a block has just failed")
            return Allowance(count=0, until=stumbled, reason="BlocksFailing", message=message)
    recent = sorted(block.meta.created_at for block in blocks if block.meta.created_at > now - MINUTE)
    pods_left = policy.pods_per_minute - len(recent) * nodes
    by_pace = max(0, pods_left // nodes) if recent else max(1, pods_left // nodes)
    if by_pace < count:
        count, until = by_pace, recent[0] + MINUTE if recent else None
        why = f"{policy.pods_per_minute} pods a minute are the limit while blocks fail"
    return Allowance(count=max(0, count), until=until, reason=reason, message=why)


def _is_hasty(block: Block, now: float) -> bool:
    """Whether it has just failed at its start, and a rule says that this means nothing: it costs a pod all the same."""
    ignored = block.status.action is FailureAction.IGNORE and not block.status.proved
    return ignored and block.meta.created_at > now - MINUTE


def _ended(block: Block) -> bool:
    job = block.status.job_status
    return job is not None and JobState[job.state].terminal


def _halts(block: Block) -> bool:
    job = block.status.job_status
    if job is None or not _ended(block) or block.status.action is FailureAction.IGNORE:
        return False
    return block.status.action is FailureAction.HALT or (job.reason in HALTING and not block.status.proved)
