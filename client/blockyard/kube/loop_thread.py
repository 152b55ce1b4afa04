"""A thread with an event loop of its own, for programs that have none: one coroutine runs there, from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

_log = logging.getLogger(__name__)

T = TypeVar("T")


class LoopThread:
    """Runs `serve`, which says `ready` when it is, and returns soon after `ending` was set."""

    def __init__(self, name: str, serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._serve = serve
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: Future[None] = Future()
        self.ending = asyncio.Event()

    def start(self, seconds: float | None = None) -> None:
        """Start it and wait until it is ready. Raises what `serve` raised, TimeoutError after so long."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        self._ready.result(seconds)

    def ready(self) -> None:
        """Let `start` return. Called by `serve`."""
        self._ready.set_result(None)

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something done there. Raises RuntimeError when the thread does not run."""
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise RuntimeError(f"thread {self._thread.name} does not run")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Set `ending` and wait for the end; idempotent, any other thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self._loop.call_soon_threadsafe(self.ending.set)
            self._thread.join()

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None, "started before its loop was made"
        try:
            loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001 - the rim of this thread: who waits for `start` hears of it
            if self._ready.done():
                _log.exception("%s failed", self._thread.name)
            else:
                self._ready.set_exception(error)
        finally:
            loop.run_until_complete(_finish(loop))
            loop.close()


async def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """End what was begun and not waited for."""
    begun = asyncio.all_tasks() - {asyncio.current_task()}
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)
    await loop.shutdown_asyncgens()
