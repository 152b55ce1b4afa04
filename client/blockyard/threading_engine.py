"""The thread engine in the shape that `Client` wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from blockyard.errors import ConfigError, UnknownPool
from blockyard.futures import FutureHome, TaskFuture
from blockyard.options import Options
from blockyard.threads import ThreadEngine

if TYPE_CHECKING:
    from blockyard.blocks.blockless import BlocklessExecutor


_OF_CLIENT = ("threads", "run", "monitoring", "radio")
"""Further arguments of `Client.threads`."""


class ThreadedEngine:
    """An `Engine` on threads of this process; `put` has nothing to send and gives the value itself."""

    def __init__(self, threads: int, **settings: Any) -> None:
        """Raises ConfigError for a setting that `ThreadEngine` does not have, naming the nearest."""
        known = ThreadEngine.__init__.__kwdefaults__ or {}
        for name in settings:
            if name not in known:
                from blockyard.suggestion import nearest

                raise ConfigError(f"Client.threads: unknown {name!r}{nearest(name, [*known, *_OF_CLIENT])}")
        self._threads = ThreadEngine(threads, **settings)
        self._count = threads
        self._pool: BlocklessExecutor | None = None

    @property
    def home(self) -> FutureHome:
        """See `Engine.home`."""
        return self._threads.home

    def submit(
        self, options: Options, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> TaskFuture[Any]:
        """See `Engine.submit`."""
        return self._submit(options, fn, [(args, kwargs)], [options.key] if options.key else [])[0]

    def submit_items(self, options: Options, fn: Callable[..., Any], items: Sequence[Any]) -> list[TaskFuture[Any]]:
        """See `Engine.submit_items`."""
        options.check_for_many()
        return self._submit(options, fn, [((item,), {}) for item in items])

    def submit_calls(
        self, options: Options, fn: Callable[..., Any], calls: Iterable[tuple[Any, ...]]
    ) -> list[TaskFuture[Any]]:
        """See `Engine.submit_calls`."""
        options.check_for_many()
        return self._submit(options, fn, [(args, {}) for args in calls])

    def _submit(
        self,
        options: Options,
        fn: Callable[..., Any],
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]],
        keys: Sequence[str] = (),
    ) -> list[TaskFuture[Any]]:
        memos: list[bytes] = []
        if options.cache:
            from blockyard.memo import memos_of  # costs nothing to those who do not use it

            memos = [own for own, *_ in memos_of(options, fn, calls)]
        return self._threads.submit(options.spec(b""), fn, calls, keys, memos)

    def put(self, value: Any) -> Any:
        """See `Engine.put`."""
        return value

    def pool(self, name: str, executor: Executor) -> BlocklessExecutor:
        """The handle on its one pool, which has no blocks. Raises UnknownPool for another name."""
        if name != "default":
            raise UnknownPool(f"pool {name!r}: a client on threads has one pool, 'default'")
        if self._pool is None:
            from blockyard.blocks.blockless import BlocklessExecutor

            self._pool = BlocklessExecutor(executor, workers_per_node=self._count)
        return self._pool

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """See `Engine.shutdown`."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)

    def interrupt(self) -> None:
        """See `Engine.interrupt`."""
        self._threads.interrupt()
