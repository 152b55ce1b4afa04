"""A client for coroutines: the same tasks as awaitables; cancelling the awaitable cancels the task, and the reverse."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Submits(Protocol):
    """What this needs of a client."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any: ...

    def submit_many(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]: ...


class AsyncClient:
    """Made by ``client.asyncio``. Belongs to no event loop until it is used in one."""

    def __init__(self, client: Submits) -> None:
        self._client = client

    async def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Run a task and return its result. At the limit of unfinished tasks it waits without holding up the loop."""
        future = await asyncio.to_thread(self._client.submit, fn, *args, **kwargs)
        result: T = await asyncio.wrap_future(future)
        return result

    async def map(self, fn: Callable[[Any], T], items: Iterable[Any]) -> AsyncIterator[T]:
        """Results of ``fn(item)`` in order."""
        for future in await asyncio.to_thread(self._client.submit_many, fn, items):
            yield await asyncio.wrap_future(future)
