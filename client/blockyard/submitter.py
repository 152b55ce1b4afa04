"""What programs submit tasks by: a `concurrent.futures.Executor` with more to it. An `Engine` packs and sends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, TypeVar

from blockyard.mapping import map_results

if TYPE_CHECKING:
    from types import TracebackType

    from blockyard.aio import AsyncClient
    from blockyard.engine import Engine
    from blockyard.futures import TaskFuture
    from blockyard.options import Options

T = TypeVar("T")


class Submitter(Executor):
    """Submits tasks with certain options. A `Client` is one with the defaults; `options` makes others."""

    def __init__(self, engine: Engine, options: Options, of: Submitter | None = None) -> None:
        self._engine = engine
        self._options = options
        self._of = of  # a client that only its views are left of is still in use

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> TaskFuture[T]:
        """Have ``fn(*args, **kwargs)`` run; futures among the arguments, inside containers too, are dependencies.

        Raises NotSendable, naming the path inside the object, when something can't be pickled; QueueFull when the
        limits are reached and ``on_full='raise'``; RuntimeError after `shutdown`.
        """
        return self._engine.submit(self._options, fn, args, kwargs)

    def submit_many(self, fn: Callable[[Any], T], items: Iterable[Any]) -> list[TaskFuture[T]]:
        """``fn(item)`` for each item; one frame for up to 256 of them, larger ones for what follows.

        Not one for all, so that the first ones run while the others are packed: docs/decisions/0008.
        """
        return self._engine.submit_items(self._options, fn, items if isinstance(items, list | tuple) else list(items))

    def starmap(self, fn: Callable[..., T], calls: Iterable[Iterable[Any]]) -> list[TaskFuture[T]]:
        """``fn(*args)`` for each iterable of arguments, in one go like `submit_many`."""
        return self._engine.submit_calls(self._options, fn, (tuple(args) for args in calls))

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As `Executor.map` of Python 3.14. `chunksize` calls are one task; it is rarely worth setting here."""
        return map_results(self, fn, iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize)

    def options(self, **changes: Any) -> Submitter:
        """A view of this client whose tasks have other options, see `Options`; `memory='1Gi'` is understood.

        Raises ConfigError naming the option at fault.
        """
        return Submitter(self._engine, self._options.but(**changes), self._of or self)

    def put(self, value: T) -> T:
        """Send a large value once; pass what is returned as an argument, as often as you like."""
        stand_in: T = self._engine.put(value)
        return stand_in

    @property
    def asyncio(self) -> AsyncClient:
        """The same for coroutines."""
        from blockyard.aio import AsyncClient  # importing asyncio takes as long as starting a worker

        return AsyncClient(self)

    @staticmethod
    def as_completed(futures: Iterable[Future[T]], timeout: float | None = None) -> Iterator[Future[T]]:
        """Futures in the order in which they end; woken once a batch."""
        from blockyard.futures import as_completed

        return as_completed(futures, timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as Executor
        """As `Executor.shutdown`; that of a view is its client's."""
        if self._of is not None:
            self._of.shutdown(wait, cancel_futures=cancel_futures)
        else:
            self._engine.shutdown(wait=wait, cancel_futures=cancel_futures)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if self._of is not None:
            return self._of.__exit__(kind, error, traceback)
        return super().__exit__(kind, error, traceback)
