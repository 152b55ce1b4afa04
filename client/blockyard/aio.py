"""A client for coroutines: the same tasks as awaitables; cancelling the awaitable cancels the task, and the reverse."""

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Submits(Protocol):
    """What this needs of a client."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any: ...

    def submit_many(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]: ...

    def options(self, **changes: Any) -> "Submits": ...


class AsyncClient:
    """Made by ``client.asyncio``. Belongs to no event loop until it is used in one."""

    def __init__(self, client: Submits) -> None:
        self._client = client

    def options(self, **changes: Any) -> "AsyncClient":
        """A view whose tasks have other options, as `Client.options`."""
        return AsyncClient(self._client.options(**changes))

    async def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Run a task and return its result. At the limit of unfinished tasks it waits without holding up the loop."""
        submission = _Submission(functools.partial(self._client.submit, fn, *args, **kwargs))
        try:
            future = await asyncio.to_thread(submission.make)
        except asyncio.CancelledError:
            submission.abandon()
            raise
        result: T = await asyncio.wrap_future(future)
        return result

    async def map(self, fn: Callable[[Any], T], items: Iterable[Any]) -> AsyncGenerator[T, None]:
        """Results of ``fn(item)`` in order. Those not asked for any more are cancelled."""
        futures = await asyncio.to_thread(self._client.submit_many, fn, items)
        try:
            for future in futures:
                yield await asyncio.wrap_future(future)
        finally:
            for future in futures:
                future.cancel()


class _Submission:
    """A submission in a thread, which cannot be stopped when nobody waits for it any more; its task can."""

    def __init__(self, submit: Callable[[], Any]) -> None:
        self._submit = submit
        self._lock = threading.Lock()
        self._future: Any = None
        self._is_abandoned = False

    def make(self) -> Any:
        future = self._submit()
        with self._lock:
            self._future = future
        if self._is_abandoned:
            future.cancel()
        return future

    def abandon(self) -> None:
        with self._lock:
            self._is_abandoned = True
        if self._future is not None:
            self._future.cancel()
