"""What the reconcile of a pool is given, and what it chose: the terms in which `pools` and `pool_status` speak."""

from __future__ import annotations

import msgspec

from blockyard.blocks.scaling import Policy
from blockyard.kube.quantities import seconds
from blockyard_operator.core.history import Allowance
from blockyard_operator.core.objects import Block, Pool
from blockyard_operator.core.radio import RadioChoice
from blockyard_operator.core.view import HeldRadio, QueueView, RadioView, Refusal, TemplateCheck
from blockyard_operator.resources.block import EndingName
from blockyard_operator.resources.shape import ConditionStatus


class PoolWorld(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a pool. `hash`: of its present form. `slots`: workers of each pod.

    `queue`: what the interchange says of it; None while it says nothing. `announced`: the interchange was told of the
    pool and its key. `answer_due`: until then it may yet say how a pool stands that it was told of (epoch seconds).
    `radio`: what the hub says; None when the release has none. `held_radio`: what the Secret has; None before that is
    known. `problem`: why its pods cannot even be written down, as (field and sentence), '' when they can.
    `refusal`: why its Secret, or one of its blocks, could not be made, the last time that it was tried.
    """

    pool: Pool
    hash: str
    blocks: tuple[Block, ...] = ()
    queue: QueueView | None = None
    connected: bool = False
    check: TemplateCheck | None = None
    problem: str = ""
    slots: int = 1
    has_secret: bool = False
    announced: bool = False
    answer_due: float = 0.0
    radio: RadioView | None = None
    held_radio: HeldRadio | None = None
    refusal: Refusal | None = None

    @property
    def verdict(self) -> TemplateCheck | None:
        """Of a dry run of the present form; of one that passed under an earlier leader the status tells."""
        if self.check is not None and self.check.hash == self.hash:
            return self.check
        status = self.pool.status
        passed = any(one.type == "TemplateValid" and one.status is ConditionStatus.TRUE for one in status.conditions)
        return TemplateCheck(hash=self.hash) if passed and status.template_hash == self.hash else None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, for the plan and for the status that tells of it."""

    start: int = 0
    drain: tuple[tuple[Block, EndingName], ...] = ()
    replace: tuple[Block, ...] = ()
    allowed: Allowance = Allowance(count=0)
    wanted: int = 0
    """Blocks that there would be if everything wished for were there."""
    limited: str = ""
    """Why there are not more: a reason, '' when nothing limits."""
    wake_at: float | None = None
    radio: RadioChoice = RadioChoice()


def policy_of(world: PoolWorld) -> Policy:
    """The pool's bounds and wishes as the strategies know them."""
    spec = world.pool.spec
    blocks, fixed = spec.blocks, spec.blocks.replicas
    return Policy(
        min_blocks=blocks.min if fixed is None else fixed,
        init_blocks=(blocks.init or blocks.min) if fixed is None else fixed,
        max_blocks=blocks.max if fixed is None else fixed,
        slots_per_block=world.slots * spec.nodes_per_block,
        parallelism=spec.parallelism,
        idle_timeout=seconds(spec.strategy.idle_timeout),
        warm_blocks=blocks.warm,
        start_cost=seconds(spec.strategy.start_cost),
        hysteresis=spec.strategy.hysteresis,
    )
