"""What the blocks of a local pool need from the engine, over the client's own link: `blocks.engine.Engine`."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from blockyard.blocks.engine import BlockCommand, ResourceSpecification
from blockyard.blocks.errors import BAD
from blockyard.blocks.scaling import BlockLoad, Demand
from blockyard.blocks.states import JobStatus
from blockyard.ids import BlockId, TaskId
from blockyard.options import Options
from blockyard.remote import RemoteEngine
from blockyard.wire import control


class PoolEngine:
    """The engine's face towards the executors of its local pools."""

    def __init__(self, remote: RemoteEngine, command: Callable[[str, BlockId, float | None], BlockCommand]) -> None:
        self._remote = remote
        self._command = command
        self._openings: dict[str, int] = {}
        """The journal's opening that each pool's demand came from last."""
        self._refused: dict[str, control.CancelMatching] = {}
        """What fails the tasks of pools that were given up, also those that other clients submit later."""
        self.on_opening: Callable[[str], None] = _nothing
        """Told the name of a pool whose demand comes from an interchange that knows nothing of its blocks yet."""

    def watch(self, pool: str, on_demand: Callable[[Demand], None]) -> Callable[[], None]:
        """See `Engine.watch`."""

        def on_answer(answer: control.Answer) -> None:
            if isinstance(answer, control.Demand):
                if self._openings.get(pool) != answer.opening:
                    self._openings[pool] = answer.opening
                    self.on_opening(pool)
                if answer.queued_slots and (refused := self._refused.get(pool)) is not None:
                    self._remote.tell(refused)
                on_demand(demand_of(answer, time.monotonic()))

        return self._remote.watch(pool, on_answer)

    def block_command(self, pool: str, block: BlockId, walltime: float | None) -> BlockCommand:
        """See `Engine.block_command`."""
        return self._command(pool, block, walltime)

    def drain(self, pool: str, blocks: Sequence[BlockId], grace: float) -> None:
        """See `Engine.drain`."""
        self._remote.tell(control.Drain(list(blocks), grace))

    def block_gone(self, pool: str, block: BlockId, status: JobStatus) -> None:
        """See `Engine.block_gone`."""
        self._remote.tell(control.BlockGone([block], status.reason or status.message or status.state.name))

    def report(self, pool: str, statuses: Mapping[BlockId, JobStatus]) -> None:
        """Tell the interchange how blocks fare, for those who ask it."""
        if statuses:
            reports = [report_of(block, status) for block, status in statuses.items()]
            self._remote.tell(control.ReportBlocks(pool, reports))

    def submit(
        self,
        pool: str,
        func: Callable[..., Any],
        resource_specification: ResourceSpecification,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Future[Any]:
        """See `Engine.submit`."""
        options = Options().but(pool=pool, **resource_specification)
        return self._remote.submit(options, func, args, dict(kwargs))

    def tasks(self, pool: str) -> Mapping[TaskId, Future[Any]]:
        """See `Engine.tasks`."""
        return self._remote.tasks(pool)

    def refuse(self, pool: str, error: BaseException) -> None:
        """See `Engine.refuse`."""
        self._remote.refuse(pool, error)
        reason = str(error).removeprefix(f"pool {pool}: ") or type(error).__name__
        self._refused[pool] = control.CancelMatching(pool, given_up=reason)
        self._remote.tell(self._refused[pool])


def _nothing(_: str) -> None:
    return None


def report_of(block: BlockId, status: JobStatus) -> control.BlockReport:
    """A block's status as the wire carries it."""
    return control.BlockReport(
        block=block,
        state=str(status.state),
        reason=status.reason,
        message=status.in_words if status.state in BAD else status.message,
        exit_code=status.exit_code,
        signal=status.signal,
        started_at=status.started_at or 0.0,
        ended_at=status.ended_at or 0.0,
        node=status.node,
    )


def demand_of(answer: control.Demand, now: float) -> Demand:
    """The wire's demand with instants of this process's clock."""
    shift = now - answer.at

    def instant(at: float) -> float | None:
        return None if at < 0 else at + shift

    return Demand(
        queued_slots=answer.queued_slots,
        running_slots=answer.running_slots,
        outstanding=answer.outstanding,
        oldest_since=instant(answer.oldest_since),
        task_seconds=None if answer.task_seconds < 0 else answer.task_seconds,
        loads=tuple(
            BlockLoad(
                block=BlockId(load.block),
                managers=load.managers,
                slots=load.slots,
                busy=load.busy,
                done=load.done,
                idle_since=instant(load.idle_since),
            )
            for load in answer.blocks
        ),
    )
