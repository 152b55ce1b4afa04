"""The handle on a pool: tasks in, blocks up and down, and what went wrong.

The members are those of Parsl's block executor (`docs/blocks.md` maps them), so that what drives one can drive this.
Keeping the blocks as they should be is left to `block_loop`, moving tasks to an `Engine`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from blockyard.blocks import errors, launchers, scaling
from blockyard.blocks.block_loop import BlockLoop, OnBlock, Rim
from blockyard.blocks.engine import Engine, ResourceSpecification, checked_specification
from blockyard.blocks.errors import CarryOn, ErrorHandler, History, Verdict
from blockyard.blocks.launchers import BlockShape
from blockyard.blocks.ledger import BlockLedger, Terms
from blockyard.blocks.monitoring_info import BlockInfo
from blockyard.blocks.pool import LocalPool
from blockyard.blocks.provider import BlockRequest, Provider
from blockyard.blocks.states import JobStatus
from blockyard.errors import BlockyardError, PoolFailed, anew
from blockyard.ids import BlockId, TaskId

log = logging.getLogger(__name__)

T = TypeVar("T")


class BlockExecutor:
    """A pool's blocks. Made by `Client`; a handle on it is `client.pool(name)`.

    `block_error_handler`: True for the pool's own policy, False for none, or a name or function that replaces it.
    `on_block` is called with every change of a block's status, from the executor's thread; it must not block.
    `name_block` makes the name of the n-th block; names must be new in every process that uses the same interchange.
    """

    def __init__(  # noqa: PLR0913 - keyword-only; the parts of a pool, each from elsewhere
        self,
        *,
        engine: Engine,
        provider: Provider,
        pool: LocalPool,
        name_block: Callable[[int], BlockId],
        label: str = "default",
        block_error_handler: bool | str | ErrorHandler = True,
        run_dir: Path | None = None,
        on_block: OnBlock | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._provider = provider
        self._pool = pool
        self._label = label
        self._run_dir = run_dir
        self._wall = wall
        self._launcher = launchers.find(pool.launcher)
        self._handler = _find_handler(pool, block_error_handler)
        strategy = scaling.find(pool.strategy) if isinstance(pool.strategy, str) else pool.strategy
        terms = Terms(
            policy=pool.policy,
            strategy=strategy,
            walltime=pool.walltime,
            drain_timeout=pool.drain_timeout,
            register_timeout=pool.register_timeout,
        )
        rim = Rim(
            label=label,
            engine=engine,
            provider=provider,
            judge=self._judge,
            request=self._request,
            give_up=self._give_up,
            on_block=on_block,
            clock=clock,
            wall=wall,
        )
        self._loop = BlockLoop(BlockLedger(terms, name_block), rim)
        self._lock = threading.Lock()
        self._exception: BaseException | None = None

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """The pool's name."""
        return self._label

    @property
    def provider(self) -> Provider:
        return self._provider

    @property
    def pool(self) -> LocalPool:
        return self._pool

    @property
    def run_dir(self) -> Path | None:
        """Where logs and other traces of this pool are; None when nothing is kept."""
        return self._run_dir

    @property
    def workers_per_node(self) -> int | float:
        """Tasks that a node runs at a time."""
        return self._pool.workers_per_node

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two questions to the provider; 0: it pushes, and is never asked."""
        return self._provider.status_polling_interval

    @property
    def scaling_enabled(self) -> bool:
        return True

    @property
    def error_management_enabled(self) -> bool:
        """False when the generic handler is `none`, so that only `handle_errors` could react to bad blocks."""
        return self._handler is not errors.none

    # --- its life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the provider and the thread, and ask for the initial blocks. A second call changes nothing."""
        self._loop.start()

    def shutdown(self, *, wait: bool = True, timeout: float = 10.0) -> None:
        """End all blocks and the thread: ask first, kill what is left after `timeout` seconds.

        Tasks that still run are lost to this pool; wait for their futures before. Without `wait` the end is begun and
        goes on by itself. May be called twice, and before `start`.
        """
        self._loop.stop(timeout, wait=wait)

    # --- tasks ------------------------------------------------------------------------------------------------------

    def submit(
        self,
        func: Callable[..., T],
        resource_specification: ResourceSpecification | None = None,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Future[T]:
        """Submit `func(*args, **kwargs)` to this pool. Raises `executor_exception` once the pool is in bad state.

        Raises ConfigError for a specification that is none.
        """
        if self._exception is not None:
            raise self._exception.with_traceback(None)
        return self._engine.submit(self._label, func, checked_specification(resource_specification), args, kwargs)

    def outstanding(self) -> int:
        """How many tasks this client gave to the pool that have not ended."""
        return sum(not future.done() for future in self.tasks.values())

    @property
    def tasks(self) -> Mapping[TaskId, Future[Any]]:
        """This client's futures of the pool that have not ended."""
        return self._engine.tasks(self._label)

    # --- blocks -----------------------------------------------------------------------------------------------------

    def scale_out(self, blocks: int = 1) -> list[BlockId]:
        """Start blocks by hand and return their names. Raises ScalingRefused beyond `max_blocks`.

        They are the strategy's like all others: it will give them up again when they idle.
        """
        return self._loop.scale_out(blocks)

    def scale_in(self, blocks: int | BlockId | Iterable[BlockId] = 1) -> list[BlockId]:
        """Drain blocks by hand, so many, this one or these, and return their names; they end within `drain_timeout`.

        Of a number, pending blocks go first, then the longest idle, busy ones last. The strategy may start others.
        """
        if isinstance(blocks, str):
            blocks = [blocks]
        return self._loop.scale_in(blocks if isinstance(blocks, int) else list(blocks))

    def status(self) -> dict[BlockId, JobStatus]:
        """The status of all living blocks and of the last ended ones, oldest first. A copy."""
        return dict(self._loop.statuses)

    def launch_command(self, block: BlockId) -> tuple[str, ...]:
        """The argv that starts this block, the launcher's words included."""
        return self._request(block).argv

    # --- errors -----------------------------------------------------------------------------------------------------

    def handle_errors(self, status: Mapping[BlockId, JobStatus]) -> bool:
        """Judge the blocks; for subclasses. True: done here; False: the generic handler (`block_error_handler`) judges.

        Called from the executor's thread whenever something changed.
        """
        return False

    def set_bad_state_and_fail_all(self, exception: BaseException) -> None:
        """Give the pool up for good: fail all its futures, refuse later submits, end all blocks.

        Futures that have ended already are left as they are. The first exception stays; later calls change nothing.
        """
        with self._lock:
            if self._exception is not None:
                return
            self._exception = exception
        log.error("pool %s was given up: %s", self._label, str(exception).removeprefix(f"pool {self._label}: "))
        self._fail_all(exception)
        self._engine.refuse(self._label, exception)  # after which they may end by the engine, with another error
        self._fail_all(exception)  # what was submitted meanwhile
        self._loop.close_blocks()

    def _fail_all(self, exception: BaseException) -> None:
        for future in self.tasks.values():
            own = anew(exception) if isinstance(exception, BlockyardError) else exception
            with suppress(InvalidStateError):  # it ended, or was cancelled, just now
                future.set_exception(own)

    @property
    def bad_state_is_set(self) -> bool:
        return self._exception is not None

    @property
    def executor_exception(self) -> BaseException | None:
        """Why the pool was given up; None while it was not."""
        return self._exception

    # --- monitoring -------------------------------------------------------------------------------------------------

    def create_monitoring_info(self, status: Mapping[BlockId, JobStatus]) -> list[BlockInfo]:
        """Turn statuses of blocks into records for monitoring, all with the present time."""
        at = self._wall()
        return [
            BlockInfo(
                pool=self._label,
                provider=self._provider.label,
                block=block,
                job=self._loop.job_of(block),
                at=at,
                state=one.state,
                reason=one.reason,
                message=one.message,
                exit_code=one.exit_code,
                signal=one.signal,
                started_at=one.started_at,
                ended_at=one.ended_at,
                node=one.node,
            )
            for block, one in status.items()
        ]

    def monitor_resources(self) -> bool:
        """Whether a task's use of memory and processor can be told from others': yes, it has a process to itself."""
        return True

    # --- for the loop -----------------------------------------------------------------------------------------------

    def _judge(self, status: Mapping[BlockId, JobStatus], history: History, now: float) -> Verdict:
        return CarryOn() if self.handle_errors(status) else self._handler(history, self._pool.error_limits, now)

    def _give_up(self, reason: str) -> None:
        self.set_bad_state_and_fail_all(PoolFailed(f"pool {self._label}: {reason}"))

    def _request(self, block: BlockId) -> BlockRequest:
        command = self._engine.block_command(self._label, block, self._pool.walltime)
        shape = BlockShape(nodes=self._pool.nodes_per_block, options=self._pool.launcher_options)
        argv = self._launcher(command.argv, shape)
        return BlockRequest(
            block=block,
            argv=argv,
            env=command.env,
            nodes=shape.nodes,
            walltime=self._pool.walltime,
            # What a launcher put in front of the command may not ask for PR_SET_PDEATHSIG.
            binds_itself=command.binds_itself and argv == command.argv,
        )


def _find_handler(pool: LocalPool, asked: bool | str | ErrorHandler) -> ErrorHandler:  # noqa: FBT001 - the user's own
    chosen = pool.error_policy if asked is True else "none" if asked is False else asked
    return errors.find(chosen) if isinstance(chosen, str) else chosen
