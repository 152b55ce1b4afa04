"""What the blocks of a pool need from whoever moves its tasks: one small port.

`executor.BlockExecutor` owns the blocks and knows nothing of queues, sockets and payloads; an `Engine` owns those and
knows nothing of providers. The real one speaks to the interchange; `suites.EngineSuite` is what each must pass.

All methods may be called from any thread and must not block on the interchange: they are called from the loop that
also has to notice dead blocks. What an engine pushes it may push from any thread; the receivers return at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeAlias

import msgspec

from blockyard.blocks.scaling import Demand
from blockyard.blocks.states import JobStatus
from blockyard.errors import ConfigError
from blockyard.ids import BlockId, TaskId

ResourceSpecification: TypeAlias = Mapping[str, object]
"""What a task asks for, under the names of the client's options (`cores`, `memory`, `priority`, …); may be empty."""


def checked_specification(given: object) -> ResourceSpecification:
    """What was given to an executor's `submit` behind the function; None asks for nothing.

    Raises ConfigError for what is no mapping, such as the first argument of a call that forgot the specification.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"submit(func, resource_specification, *args): resource_specification={given!r:.200} is no mapping of "
            "options; give {} or None before the arguments"
        )
    if "pool" in given:
        raise ConfigError(
            f"resource_specification: pool={given['pool']!r} cannot be asked for here; client.pool(…) gives the "
            "handle on each pool"
        )
    return given


class BlockCommand(msgspec.Struct, frozen=True, kw_only=True):
    """How one node of a block is started: the manager's argv, and what it needs in its environment.

    `binds_itself`: the program asks for PR_SET_PDEATHSIG itself, as the manager does; otherwise the channel sees to it.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    binds_itself: bool = False


class Engine(Protocol):
    """The port of all engines. `pool` is a pool's name everywhere."""

    def watch(self, pool: str, on_demand: Callable[[Demand], None]) -> Callable[[], None]:
        """Push the pool's demand: once soon, and again whenever it changes, newest last.

        `idle_since` and `oldest_since` are instants of this machine's monotonic clock (`time.monotonic()`). Returns a
        function that ends the subscription; after it returned, `on_demand` is not called again.
        """
        ...

    def block_command(self, pool: str, block: BlockId, walltime: float | None) -> BlockCommand:
        """Return what starts a node of this block. `walltime`: seconds that it will live from its start, or None.

        A manager with a walltime takes no task that cannot end in time.
        """
        ...

    def drain(self, pool: str, blocks: Sequence[BlockId], grace: float) -> None:
        """Give these blocks no more tasks and hand back what has not started; their managers then leave and exit 0.

        What still runs after `grace` seconds may be ended as lost. Draining twice, or a block unknown to the
        interchange, changes nothing.
        """
        ...

    def block_gone(self, pool: str, block: BlockId, status: JobStatus) -> None:
        """Say that a block has ended, so that its tries need not wait for missed heartbeats to be run again."""
        ...

    def submit(
        self,
        pool: str,
        func: Callable[..., Any],
        resource_specification: ResourceSpecification,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Future[Any]:
        """Submit one call to the pool. Raises what `refuse` was given, once it was."""
        ...

    def tasks(self, pool: str) -> Mapping[TaskId, Future[Any]]:
        """Return this client's futures of the pool that have not ended: a copy, safe to walk through."""
        ...

    def refuse(self, pool: str, error: BaseException) -> None:
        """From now on let every submit to this pool raise `error`, and give up its tasks that have not ended.

        The caller has failed the futures that it knows. A second call changes nothing.
        """
        ...
