"""Replacing blocks that were made from an earlier form of their pool, a few at a time. Pure.

A replacement is made beside the block whose place it takes and carries its name. While both are there, the strategy
sees one of them, so that it neither gives up the surplus nor counts it as supply. A block is drained when its
replacement works, so that a new form that does not start costs the pool nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from blockyard_operator.core.objects import Block
from blockyard_operator.resources.block import EndingName
from blockyard_operator.resources.fields import blocks_of
from blockyard_operator.resources.pool import Rollout


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """Living blocks: `outdated` ones by name that are not drained yet, and by the same names their replacements."""

    outdated: Mapping[str, Block]
    replacements: Mapping[str, Block]

    def hides(self, block: Block) -> bool:
        """Whether the strategy must not see this block: it stands beside the one that it will replace."""
        return block.replaces in self.outdated and self.replacements.get(block.replaces) is block


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next: outdated blocks to drain, and outdated ones to make replacements for."""

    drain: tuple[Block, ...] = ()
    replace: tuple[Block, ...] = ()


def pair(living: Sequence[Block], current: str) -> Pairs:
    """Find the outdated blocks and their replacements. `current`: the hash of the pool's present form."""
    outdated = {block.meta.name: block for block in living if block.hash != current and not block.spec.drain}
    replacements = {
        block.replaces: block
        for block in living
        if block.replaces in outdated and block.hash == current and not block.spec.drain
    }
    return Pairs(outdated=outdated, replacements=replacements)


def next_step(pairs: Pairs, living: Sequence[Block], starting: int, rollout: Rollout) -> Step:
    """Decide; at most `maxSurge` blocks more, and at most `maxUnavailable` fewer working, than the pool is to have.

    `starting`: blocks that the strategy wants besides those there are.
    """
    if rollout.paused or not pairs.outdated:
        return Step()
    taking = [block for block in living if not block.spec.drain and not pairs.hides(block)]
    given_up = (block for block in living if block.spec.drain and block.ending == EndingName.ROLLOUT)
    lost = sum(not _has_heir(block, living) for block in given_up)
    whole = lost + len(taking) + starting
    fewer = blocks_of(rollout.max_unavailable, whole, round_up=False)
    more = blocks_of(rollout.max_surge, whole, round_up=True)
    if fewer == 0 and more == 0:
        more = 1  # both zero would never get anywhere
    room = max(0, fewer - (whole - sum(_works(block) for block in taking)))
    replaced = [old for name, old in pairs.outdated.items() if _works(pairs.replacements.get(name))]
    idle_first = sorted((one for one in pairs.outdated.values() if one not in replaced), key=_worth)
    unready = [one for one in idle_first if not _works(one) and one.meta.name not in pairs.replacements]
    drain = [*replaced, *unready, *[one for one in idle_first if _works(one)][:room]]
    surging = len(pairs.replacements) + sum(block.spec.drain and _has_heir(block, living) for block in living)
    candidates = [one for one in idle_first if one not in drain and one.meta.name not in pairs.replacements]
    return Step(drain=tuple(drain), replace=tuple(candidates[: max(0, more - surging)]))


def _works(block: Block | None) -> bool:
    return block is not None and block.status.managers > 0


def _worth(block: Block) -> tuple[bool, int]:
    """For sorting: blocks that do not work come first, then those with few busy workers."""
    return (_works(block), block.status.workers.busy)


def _has_heir(block: Block, living: Sequence[Block]) -> bool:
    return any(one.replaces == block.meta.name for one in living)
