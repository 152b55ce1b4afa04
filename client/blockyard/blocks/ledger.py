"""The book of a pool's blocks: what is known of each, what may be done next, and what an end means.

Pure: every event comes with its `now`, effects go out as values, and `BlockLedger` is the only state. Carrying the
effects out (processes, the interchange, futures) is left to `executor`; how many blocks to have, to a strategy of
`scaling`; whether to go on after bad ones, to a handler of `errors`.

All instants are seconds of one monotonic clock, apart from those inside a `JobStatus`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from blockyard.blocks.errors import CarryOn, FailAll, History, Outcome, PauseUntil, Verdict
from blockyard.blocks.faults import ScalingRefused
from blockyard.blocks.scaling import BlockLoad, BlockView, Demand, Policy, Strategy, choose_victims, earliest
from blockyard.blocks.states import Ending, JobId, JobState, JobStatus, advance, read_end
from blockyard.ids import BlockId

PROOF_SECONDS: Final = 2.0
"""A block whose managers have been registered for so long has proved itself, even if no task ended on it yet."""

STUMBLE_SECONDS: Final = 0.25
"""No block is started so soon after one that ended badly without having proved itself, whatever the error handler."""

REMEMBERED: Final = 256
"""How many ended blocks are kept, for `status` and for the error handler."""


class Block(msgspec.Struct):
    """One living block. `working_since`: since when it has managers; `silent_since`: since when it runs without any."""

    id: BlockId
    asked_at: float
    status: JobStatus
    job: JobId | None = None
    ends_at: float | None = None
    load: BlockLoad | None = None
    working_since: float | None = None
    silent_since: float | None = None
    done: int = 0
    ending: Ending | None = None
    drain_by: float | None = None
    cancelled: bool = False

    def proved_at(self, now: float) -> float | None:
        """Since when it counts as proved; None when it does not, yet."""
        if self.working_since is None:
            return None
        if self.done > 0:
            return self.working_since
        proof = self.working_since + PROOF_SECONDS
        return proof if proof <= now else None

    def view(self) -> BlockView:
        return BlockView(
            block=self.id,
            state=self.status.state,
            asked_at=self.asked_at,
            registered=self.working_since is not None,
            draining=self.ending is not None,
            busy=self.load.busy if self.load is not None else 0.0,
            idle_since=self.load.idle_since if self.load is not None else None,
        )


class Launch(msgspec.Struct, frozen=True, tag="launch"):
    """Ask the provider for this block; answer with `launched` or `refused`."""

    block: BlockId


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Tell the interchange to give these blocks nothing more; what runs has `grace` seconds."""

    blocks: tuple[BlockId, ...]
    grace: float


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Tell the provider to end these jobs."""

    jobs: tuple[JobId, ...]


class Gone(msgspec.Struct, frozen=True, tag="gone"):
    """Tell the interchange, and whoever listens, that a block has ended."""

    block: BlockId
    status: JobStatus
    job: JobId | None


class Changed(msgspec.Struct, frozen=True, tag="changed"):
    """Tell whoever listens that a living block has another state."""

    block: BlockId
    status: JobStatus


class GiveUp(msgspec.Struct, frozen=True, tag="give-up"):
    """Fail the pool and all its tasks."""

    reason: str


Effect: TypeAlias = Launch | Drain | Cancel | Changed | Gone | GiveUp


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do now, in this order, and when time alone may call for more."""

    effects: tuple[Effect, ...] = ()
    wake_at: float | None = None
    why: str = ""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a pool that the ledger keeps to; see `pool.LocalPool` for their meaning."""

    policy: Policy
    strategy: Strategy
    walltime: float | None = None
    drain_timeout: float = 30.0
    register_timeout: float = 60.0


class BlockLedger:
    """The blocks of one pool. `name_block` makes the name of the n-th block, from 0; a name never comes twice."""

    def __init__(self, terms: Terms, name_block: Callable[[int], BlockId]) -> None:
        self.terms = terms
        self.name_block = name_block
        self.living: dict[BlockId, Block] = {}
        self.ended: dict[BlockId, JobStatus] = {}
        self.demand = Demand()
        self.closing = False
        self._jobs: dict[JobId, BlockId] = {}
        self._outcomes: deque[Outcome] = deque(maxlen=REMEMBERED)
        self._good = 0
        self._bad = 0
        self._count = 0
        self._stumbled_at: float | None = None

    # --- what is known ----------------------------------------------------------------------------------------------

    def status(self) -> dict[BlockId, JobStatus]:
        """The status of every living block and of the last ended ones, in the order in which they were asked for."""
        return {**self.ended, **{block.id: block.status for block in self.living.values()}}

    def history(self, now: float) -> History:
        """What the error handler judges by: blocks that ended badly, and all that proved themselves, living or not."""
        proved = [
            Outcome(block=block.id, status=block.status, at=at, proved=True)
            for block in self.living.values()
            if (at := block.proved_at(now)) is not None
        ]
        recent = sorted([*self._outcomes, *proved], key=lambda outcome: outcome.at)
        return History(good=self._good + len(proved), bad=self._bad, recent=tuple(recent))

    def jobs(self) -> list[JobId]:
        """The provider's jobs that have not ended."""
        return list(self._jobs)

    # --- what happens -----------------------------------------------------------------------------------------------

    def open(self, now: float) -> list[Effect]:
        """Begin: the pool's initial blocks are started whatever the strategy says."""
        policy = self.terms.policy
        return self._launch(max(policy.init_blocks, policy.min_blocks), now)

    def launched(self, block: BlockId, job: JobId) -> None:
        """The provider took the block as `job`."""
        self.living[block].job = job
        self._jobs[job] = block

    def refused(self, block: BlockId, status: JobStatus, now: float) -> list[Effect]:
        """The provider would not take the block, or the engine could not say how to start it."""
        return self._end(self.living[block], status, now)

    def reported(self, job: JobId, new: JobStatus, now: float) -> list[Effect]:
        """The provider reports on a job; one that has ended before is ignored.

        Raises IllegalTransition for a report that cannot be true; the block keeps its state then.
        """
        name = self._jobs.get(job)
        if name is None:
            return []
        block = self.living[name]
        if new.terminal:
            return self._end(block, read_end(new, block.ending, registered=block.working_since is not None), now)
        before = block.status.state
        block.status = advance(block.status, new)
        if block.status.state is JobState.RUNNING and block.silent_since is None and block.working_since is None:
            block.silent_since = now
            if self.terms.walltime is not None:
                block.ends_at = now + self.terms.walltime
        return [] if block.status.state is before else [Changed(name, block.status)]

    def demanded(self, demand: Demand, now: float) -> None:
        """The interchange pushes the pool's demand and what it knows of each block."""
        self.demand = demand
        loads = {load.block: load for load in demand.loads if load.managers > 0}
        for block in self.living.values():
            block.load = loads.get(block.id)
            if block.load is None:
                if block.working_since is not None and block.silent_since is None:
                    block.silent_since = now
                continue
            block.silent_since = None
            block.done = max(block.done, block.load.done)
            if block.working_since is None:
                block.working_since = now

    def scale_out(self, count: int, now: float) -> list[Effect]:
        """Start blocks by hand. Raises ScalingRefused beyond the pool's maximum, and for fewer than none."""
        if count < 0:
            raise ScalingRefused(f"scale_out({count}): give how many blocks are to start, from 0")
        maximum = self.terms.policy.max_blocks
        if len(self.living) + count > maximum or self.closing:
            raise ScalingRefused(
                f"scale_out({count}): the pool has {len(self.living)} block(s), its maximum is {maximum}"
                + (", and it is closing" if self.closing else "")
            )
        return self._launch(count, now)

    def scale_in(self, which: int | Iterable[BlockId], now: float) -> tuple[list[BlockId], list[Effect]]:
        """Give blocks up by hand: so many, chosen as `choose_victims` says, or these. Returns which ones.

        Raises ScalingRefused for a block that never was, and for fewer than none; one that has ended, or is being
        drained, is left out.
        """
        if isinstance(which, int) and which < 0:
            raise ScalingRefused(f"scale_in({which}): give how many blocks are to end, from 0, or their names")
        if isinstance(which, int):
            victims = choose_victims([block.view() for block in self.living.values()], which)
        else:
            victims = tuple(which)
            strange = [name for name in victims if name not in self.living and name not in self.ended]
            if strange:
                raise ScalingRefused(f"scale_in: no block {strange[0]!r}; living: {', '.join(self.living) or 'none'}")
        taken = [name for name in victims if name in self.living and self.living[name].ending is None]
        return taken, self._give_up([self.living[name] for name in taken], Ending.SCALE_IN, now)

    def close(self, now: float) -> list[Effect]:
        """End: every block is cancelled, none is started any more."""
        self.closing = True
        for block in self.living.values():
            block.ending = block.ending or Ending.SCALE_IN
            block.drain_by = now
        return self._overdue(now)

    # --- what to do -------------------------------------------------------------------------------------------------

    def upkeep(self, now: float) -> list[Effect]:
        """What is due whatever strategy and error handler say: give up silent and expiring blocks, end overdue ones.

        Apart from `plan` so that a faulty plug-in cannot lose it.
        """
        return [*self._silent(now), *self._expiring(now), *self._overdue(now)]

    def next_due(self) -> float | None:
        """When `upkeep` will have something to do, as far as is known now."""
        return earliest(*self._deadlines())

    def plan(self, verdict: Verdict, now: float) -> Plan:
        """Decide how many blocks there should be. Once that is carried out, the same question has an empty answer."""
        if self.closing:
            return Plan()
        if isinstance(verdict, FailAll):
            return Plan(effects=(GiveUp(verdict.reason),), why=verdict.reason)
        views = [block.view() for block in self.living.values()]
        decision = self.terms.strategy(self.demand, views, self.terms.policy, now)
        drained = self._give_up([self.living[name] for name in decision.drain], Ending.SCALE_IN, now)
        start, held_until = self._allowed(decision.start, verdict, now)
        return Plan(
            effects=(*drained, *self._launch(start, now)),
            wake_at=earliest(decision.wake_at, held_until),
            why=decision.why,
        )

    def _allowed(self, wanted: int, verdict: Verdict, now: float) -> tuple[int, float | None]:
        """How many blocks may be started now, and when to ask again for the others."""
        if wanted == 0:
            return 0, None
        if isinstance(verdict, PauseUntil):
            return 0, verdict.until
        if self._stumbled_at is not None and now < self._stumbled_at + STUMBLE_SECONDS:
            return 0, self._stumbled_at + STUMBLE_SECONDS
        if not isinstance(verdict, CarryOn) or verdict.at_most is None:
            return wanted, None
        unproved = [block for block in self.living.values() if block.proved_at(now) is None]
        proofs = [block.working_since + PROOF_SECONDS for block in unproved if block.working_since is not None]
        return min(wanted, max(0, verdict.at_most - len(unproved))), earliest(*proofs)

    def _launch(self, count: int, now: float) -> list[Effect]:
        names = [self.name_block(self._count + index) for index in range(count)]
        self._count += count
        for name in names:
            self.living[name] = Block(name, now, JobStatus(state=JobState.PENDING, reason="Asked"))
        return [Launch(name) for name in names]

    def _give_up(self, blocks: Sequence[Block], why: Ending, now: float) -> list[Effect]:
        """Drain blocks that have managers; cancel the others, which have nothing to lose."""
        fresh = [block for block in blocks if block.ending is None]
        working = [block for block in fresh if block.load is not None]
        for block in fresh:
            block.ending = why
            block.drain_by = now + self.terms.drain_timeout if block in working else now
            if why is Ending.WALLTIME and block.ends_at is not None:
                block.drain_by = max(now, min(block.drain_by, block.ends_at))  # over already when the machine slept
        effects: list[Effect] = []
        if working:
            grace = min(block.drain_by - now for block in working if block.drain_by is not None)
            effects.append(Drain(tuple(block.id for block in working), grace))
        return [*effects, *self._overdue(now)]

    def _silent(self, now: float) -> list[Effect]:
        """Give up blocks that run but have had no manager for too long."""
        limit = now - self.terms.register_timeout
        late = [
            block
            for block in self.living.values()
            if block.ending is None and block.silent_since is not None and block.silent_since <= limit
        ]
        return self._give_up(late, Ending.UNREGISTERED, now)

    def _expiring(self, now: float) -> list[Effect]:
        """Drain blocks whose walltime ends soon."""
        soon = now + self.terms.drain_timeout
        due = [
            block
            for block in self.living.values()
            if block.ending is None and block.ends_at is not None and block.ends_at <= soon
        ]
        return self._give_up(due, Ending.WALLTIME, now)

    def _overdue(self, now: float) -> list[Effect]:
        """Cancel what had to be drained by now, or has nothing to drain."""
        jobs = []
        for block in self.living.values():
            due = block.drain_by is not None and block.drain_by <= now
            if due and not block.cancelled and block.job is not None:
                block.cancelled = True
                jobs.append(block.job)
        return [Cancel(tuple(jobs))] if jobs else []

    def _deadlines(self) -> Iterable[float]:
        for block in self.living.values():
            if block.drain_by is not None:
                if not block.cancelled:
                    yield block.drain_by
                continue
            if block.silent_since is not None:
                yield block.silent_since + self.terms.register_timeout
            if block.ends_at is not None:
                yield block.ends_at - self.terms.drain_timeout

    def _end(self, block: Block, status: JobStatus, now: float) -> list[Effect]:
        block.status = advance(block.status, status)
        del self.living[block.id]
        if block.job is not None:
            del self._jobs[block.job]
        self.ended[block.id] = block.status
        while len(self.ended) > REMEMBERED:
            del self.ended[next(iter(self.ended))]
        proved = block.proved_at(now) is not None
        outcome = Outcome(block=block.id, status=block.status, at=now, proved=proved)
        if outcome.bad:
            self._bad += 1
            self._stumbled_at = now
        if proved:
            self._good += 1
        if outcome.bad or proved:
            self._outcomes.append(outcome)
        return [Gone(block.id, block.status, block.job)]
