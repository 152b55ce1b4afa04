"""`Executor.map` for clients: ordered results of calls over zipped iterables, as Python 3.14 documents it."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Submits(Protocol):
    """What mapping needs of a client."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any: ...

    def submit_many(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]: ...

    def starmap(self, fn: Callable[..., Any], calls: Iterable[Iterable[Any]]) -> list[Any]: ...


def map_results(
    client: Submits,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    *,
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
) -> Iterator[T]:
    """Submit at once (or, with `buffersize`, no more than that ahead) and yield results in order.

    Raises ValueError for a chunksize or buffersize below 1, TimeoutError from the iterator.
    """
    if chunksize < 1:
        raise ValueError(f"chunksize={chunksize}, expected at least 1")
    if buffersize is not None and buffersize < 1:
        raise ValueError(f"buffersize={buffersize}, expected at least 1 or None")
    deadline = None if timeout is None else time.monotonic() + timeout
    calls: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
    if chunksize > 1:
        chunks = iter(lambda: tuple(itertools.islice(calls, chunksize)), ())
        lists = _results(client, _run_chunk, ((fn, chunk) for chunk in chunks), buffersize, deadline)
        return itertools.chain.from_iterable(lists)
    return _results(client, fn, calls, buffersize, deadline)


def _run_chunk(fn: Callable[..., T], chunk: tuple[tuple[Any, ...], ...]) -> list[T]:
    return [fn(*args) for args in chunk]


def _results(
    client: Submits,
    fn: Callable[..., Any],
    calls: Iterator[tuple[Any, ...]],
    buffersize: int | None,
    deadline: float | None,
) -> Iterator[Any]:
    first = calls if buffersize is None else itertools.islice(calls, buffersize)
    futures: deque[Future[Any]] = deque(client.starmap(fn, first))
    return _yield(client, fn, futures, iter(()) if buffersize is None else calls, deadline)


def _yield(
    client: Submits,
    fn: Callable[..., Any],
    futures: deque[Future[Any]],
    more: Iterator[tuple[Any, ...]],
    deadline: float | None,
) -> Iterator[Any]:
    try:
        while futures:
            future = futures.popleft()
            # One more is submitted before waiting, so that `buffersize` tasks are always under way.
            futures.extend(client.submit(fn, *args) for args in itertools.islice(more, 1))
            yield future.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
    finally:
        for future in futures:
            future.cancel()
