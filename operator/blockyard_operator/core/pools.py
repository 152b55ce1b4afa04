"""A pool: from what is seen of it and its blocks to what is to be done. Pure.

How many blocks there should be is decided by a strategy of `blockyard.blocks.scaling`, whether more may be started by
a policy of `blockyard.blocks.errors`, the same functions as on one machine. While the interchange is silent nothing is
started and nothing given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from blockyard.blocks import scaling
from blockyard.blocks.scaling import BlockView, Decision, earliest
from blockyard.blocks.states import JobState
from blockyard.ids import BlockId
from blockyard.kube.times import instant
from blockyard_operator.core import plan as do
from blockyard_operator.core.history import MINUTE, Allowance, allowance
from blockyard_operator.core.objects import (
    HASH_LABEL,
    ORDINAL_LABEL,
    REPLACES,
    Block,
    block_name,
    block_spec,
    owner_reference,
)
from blockyard_operator.core.pool_status import status_of_pool
from blockyard_operator.core.pool_world import Choice, PoolWorld, policy_of
from blockyard_operator.core.radio import RadioChoice
from blockyard_operator.core.radio import decide as decide_radio
from blockyard_operator.core.rollout import Pairs, Step, next_step, pair
from blockyard_operator.core.view import QueueView
from blockyard_operator.resources.block import EndingName
from blockyard_operator.resources.fields import API_VERSION
from blockyard_operator.resources.shape import builtins

KEPT_BAD: Final = 16
"""So many blocks that failed are kept for the error policy and for people: its threshold is no higher."""
KEPT: Final = 3
"""And so many of those that ended otherwise."""
CHECK_AGAIN: Final = 60.0
"""Seconds after which a template that was refused is held against the API server again."""
TOLD: Final = 500
"""Characters of the evidence that each task of a pool that was given up fails with: there may be a million tasks."""
CREATIONS: Final = 50
"""Blocks made in one pass; the next pass makes more."""
_UNBOUNDED: Final = 10_000_000
"""More blocks than any pool has."""


def reconcile_pool(world: PoolWorld, now: float) -> do.Plan:
    """Decide. Once the plan is carried out and seen, the same question has an empty answer."""
    pool = world.pool
    if pool.meta.deleting:
        return do.Plan()
    living, ended = _split(world.blocks)
    radio = decide_radio(world, now)
    choice = msgspec.structs.replace(_choose(world, living, ended, radio, now), radio=radio)
    effects = [*_prepare(world, now), *radio.effects, *_drains(choice), *_starts(world, choice), *_forget(ended, now)]
    if choice.allowed.given_up and world.queue is not None and world.queue.demand.outstanding > 0:
        effects.append(do.FailTasks(pool.queue, _why_given_up(pool.meta.name, choice.allowed.message)))
    wake_at = earliest(choice.wake_at, radio.wake_at, *_tried_again(world, now))
    if _has_yet_to_hear(world, now):
        return do.Plan(effects=tuple(effects), wake_at=earliest(wake_at, world.answer_due or None))
    status, told = status_of_pool(world, living, ended, choice, now)
    if status != pool.status:
        calm = msgspec.structs.replace(
            status, workers=pool.status.workers, tasks=pool.status.tasks,
            blocks=msgspec.structs.replace(status.blocks, idle=pool.status.blocks.idle),
        )  # fmt: skip
        effects.append(do.WritePoolStatus(pool.meta, status, urgent=calm != pool.status))
        effects += told
    return do.Plan(effects=tuple(effects), wake_at=wake_at)


def _why_given_up(name: str, found: str) -> str:
    """What the futures of its tasks say: what to do first, for what was found may end with a log, and is cut."""
    short = found if len(found) <= TOLD else f"{found[: TOLD - 1]}…"
    return f"mend the template of WorkerPool {name} and submit again; {short}"


def _has_yet_to_hear(world: PoolWorld, now: float) -> bool:
    """A new leader, or one that has just been let in again, will know in a moment: the status stands meanwhile."""
    pool, refused = world.pool, world.pool.unreadable or world.problem
    told = pool.status.observed_generation == pool.meta.generation
    waits = (
        world.connected and world.queue is None and (not (world.has_secret or world.refusal) or now < world.answer_due)
    )
    return told and waits and not refused


def _tried_again(world: PoolWorld, now: float) -> Sequence[float]:
    """When what was refused is tried again: what refuses it is not in the pool, and may have changed."""
    verdict, refusal = world.verdict, world.refusal
    dues = [verdict.at + CHECK_AGAIN] if verdict is not None and verdict.problem else []
    return [due for due in (*dues, *([refusal.retry_at] if refusal is not None else ())) if due > now]


def _split(blocks: Sequence[Block]) -> tuple[list[Block], list[Block]]:
    """Living blocks and ended ones, each in the order in which they were made; those being deleted are neither."""
    ordered = sorted((block for block in blocks if not block.meta.deleting), key=lambda block: block.ordinal)
    ended = [block for block in ordered if block.state and JobState[block.state].terminal]
    return [block for block in ordered if block not in ended], ended


# --- deciding ---------------------------------------------------------------------------------------------------------


def _choose(
    world: PoolWorld, living: Sequence[Block], ended: Sequence[Block], radio: RadioChoice, now: float
) -> Choice:
    spec = world.pool.spec
    if world.pool.unreadable or world.problem:
        return Choice(wanted=len(living))
    if spec.suspend:
        return Choice(drain=tuple((block, EndingName.SUSPEND) for block in living if not block.spec.drain))
    same_form = [block for block in (*living, *ended) if block.hash == world.hash]
    proved = world.pool.status.proved and world.pool.status.template_hash == world.hash
    allowed = allowance(spec.error_policy, same_form, now, nodes=spec.nodes_per_block, proved=proved)
    if world.queue is None or not world.connected:
        return Choice(allowed=allowed, wanted=sum(not block.spec.drain for block in living), wake_at=allowed.until)
    pairs = pair(living, world.hash)
    visible = [block for block in living if not pairs.hides(block)]
    decision = _decide(world, [_view(block, world.queue) for block in visible], now)
    step = next_step(pairs, living, decision.start, spec.rollout)
    refusal = world.refusal if world.refusal is not None and now < world.refusal.retry_at else None
    may = _Allowed(allowed, _is_ready(world) and radio.ready, refusal.reason if refusal is not None else "")
    return _limited(world, living, pairs, step, decision, may)


def _decide(world: PoolWorld, views: Sequence[BlockView], now: float) -> Decision:
    assert world.queue is not None
    spec, policy = world.pool.spec, policy_of(world)
    strategy = scaling.find("none" if spec.blocks.replicas is not None else spec.strategy.name.value)
    decision = strategy(world.queue.demand, views, policy, now)
    missing = policy.init_blocks - _made(world) - decision.start
    if not world.pool.status.opened and missing > 0:
        room = policy.max_blocks - len(views) - decision.start
        decision = msgspec.structs.replace(decision, start=decision.start + max(0, min(missing, room)))
    return decision


def _view(block: Block, queue: QueueView) -> BlockView:
    load = queue.loads.get(block.meta.name)
    return BlockView(
        block=BlockId(block.meta.name),
        state=JobState[block.state] if block.state else JobState.PENDING,
        asked_at=block.meta.created_at,
        registered=block.status.registered_at is not None or load is not None,
        draining=block.spec.drain,
        busy=float(load.busy) if load else 0.0,
        idle_since=load.idle_since if load else None,
    )


class _Allowed(NamedTuple):
    """By the error policy, by what must be there before the first block, and by what the API server would not make."""

    by_policy: Allowance
    ready: bool
    refused: str


def _is_ready(world: PoolWorld) -> bool:
    checked = world.verdict
    return checked is not None and not checked.problem and world.has_secret and world.announced


def _limited(
    world: PoolWorld, living: Sequence[Block], pairs: Pairs, step: Step, decision: Decision, may: _Allowed
) -> Choice:
    """What of the wishes may be done now: no block before its pods were checked, none beyond what is allowed."""
    allowed, ready, refused = may
    named = {block.meta.name: block for block in living}
    drain = {str(name): EndingName.SCALE_IN for name in decision.drain}
    drain |= {block.meta.name: EndingName.ROLLOUT for block in step.drain if block.meta.name not in drain}
    drain |= {
        heir.meta.name: ending
        for name, ending in drain.items()
        if ending is EndingName.SCALE_IN and (heir := pairs.replacements.get(name)) is not None
    }
    may_start = allowed.count if ready and not refused else 0
    start = min(decision.start, may_start, CREATIONS)
    replace = tuple(step.replace[: max(0, min(may_start, CREATIONS) - start)])
    staying = sum(not block.spec.drain and block.meta.name not in drain and not pairs.hides(block) for block in living)
    limited = ""
    if decision.start > start:
        limited = refused or ("Preparing" if not ready else allowed.reason if decision.start > allowed.count else "")
    elif _at_maximum(world, staying + start):
        limited = "AtMaximum"
    return Choice(
        start=start,
        drain=tuple((named[name], ending) for name, ending in drain.items() if name in named),
        replace=replace,
        allowed=allowed,
        wanted=staying + decision.start,
        limited=limited,
        wake_at=earliest(decision.wake_at, allowed.until if decision.start > start or step.replace else None),
    )


def _at_maximum(world: PoolWorld, count: int) -> bool:
    """There is demand for more blocks than the pool may have."""
    assert world.queue is not None
    policy = policy_of(world)
    unbounded = msgspec.structs.replace(policy, max_blocks=max(policy.max_blocks, _UNBOUNDED))
    return count >= policy.max_blocks and scaling.needed_blocks(world.queue.demand, unbounded) > policy.max_blocks


# --- doing ------------------------------------------------------------------------------------------------------------


def _prepare(world: PoolWorld, now: float) -> Sequence[do.Effect]:
    """What a pool needs before its first block: a key, and pods that the API server would take."""
    if world.pool.unreadable or world.problem:
        return ()
    effects: list[do.Effect] = []
    if not world.has_secret and (world.refusal is None or now >= world.refusal.retry_at):
        effects.append(do.MakeSecret(world.pool.meta, "WorkerPool"))
    verdict = world.verdict
    if verdict is None or (verdict.problem and now >= verdict.at + CHECK_AGAIN):
        effects.append(do.CheckTemplate(world.pool.meta, world.hash))
    return effects


def _drains(choice: Choice) -> Sequence[do.Effect]:
    return [do.DrainBlock(block.meta, ending.value) for block, ending in choice.drain]


def _starts(world: PoolWorld, choice: Choice) -> Sequence[do.Effect]:
    first = 1 + _made(world)
    replaced: list[Block | None] = [*([None] * choice.start), *choice.replace]
    return [do.CreateBlock(_manifest(world, first + place, old)) for place, old in enumerate(replaced)]


def _made(world: PoolWorld) -> int:
    """How many blocks were ever made, by their ordinals: by the status, and by the blocks that it does not know yet."""
    return max([world.pool.status.last_ordinal, *(block.ordinal for block in world.blocks)])


def _manifest(world: PoolWorld, ordinal: int, replaces: Block | None) -> dict[str, Any]:
    pool = world.pool
    meta: dict[str, Any] = {
        "name": block_name(pool.meta.name, pool.meta.uid, ordinal),
        "namespace": pool.meta.namespace,
        "labels": {
            "app.kubernetes.io/name": "blockyard",
            "app.kubernetes.io/instance": pool.meta.name,
            "app.kubernetes.io/component": "block",
            "app.kubernetes.io/managed-by": "blockyard",
            "blockyard.dev/pool": pool.meta.name,
            HASH_LABEL: world.hash,
            ORDINAL_LABEL: str(ordinal),
        },
        "ownerReferences": [owner_reference("WorkerPool", pool.meta)],
    }
    if replaces is not None:
        meta["annotations"] = {REPLACES: replaces.meta.name}
    spec = builtins(block_spec(pool.meta.name, pool.spec))
    return {"apiVersion": API_VERSION, "kind": "WorkerBlock", "metadata": meta, "spec": spec}


def _forget(ended: Sequence[Block], now: float) -> Sequence[do.Effect]:
    """Ended blocks that nobody needs any more: neither the error policy nor, for the newest, people."""
    newest = sorted(ended, key=_ended_at, reverse=True)
    bad = [block for block in newest if block.state in ("FAILED", "MISSING")]
    good = [block for block in newest if block not in bad]
    proof = next((block for block in newest if block.status.proved), None)
    kept = [*bad[:KEPT_BAD], *good[:KEPT], *([proof] if proof is not None else ())]
    kept += [block for block in bad if block.meta.created_at > now - MINUTE]
    return [do.DeleteBlock(block.meta) for block in newest if block not in kept]


def _ended_at(block: Block) -> float:
    job = block.status.job_status
    return (instant(job.ended_at) if job is not None else None) or block.meta.created_at
