"""Tells open pages that something has changed: follows the hub's stream once, for all of them.

A page is told how many records of which kind came, at most twice a second, and asks for what it shows again. Without a
stream it is told so every few seconds.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Final

from blockyard.errors import BlockyardError
from blockyard.events import Where, follow_http

_log = logging.getLogger(__name__)

_GATHER_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 2.0
_BEAT_SECONDS: Final = 15.0
MOST_PAGES: Final = 64


class Live:
    """Start it in the server's loop, `close` it there."""

    def __init__(self, stream: Where | None) -> None:
        self._stream = stream
        self._pages: set[asyncio.Queue[dict[str, int]]] = set()
        self._came: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self.is_following = False
        """The stream is there."""

    def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def is_full(self) -> bool:
        """No more pages are told."""
        return len(self._pages) >= MOST_PAGES

    async def changes(self) -> AsyncGenerator[dict[str, int], None]:
        """How many records of which kind came since the last time; empty: a sign of life."""
        queue: asyncio.Queue[dict[str, int]] = asyncio.Queue(1)
        self._pages.add(queue)
        try:
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), _BEAT_SECONDS)
                except TimeoutError:
                    yield {}
        finally:
            self._pages.discard(queue)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell())
            if self._stream is not None:
                group.create_task(self._follow(self._stream))

    async def _follow(self, stream: Where) -> None:
        while True:
            try:
                async for event in follow_http(stream, patience=_RETRY_SECONDS):
                    self.is_following = True
                    self._came[str(event["record"])] += 1
            except BlockyardError as error:
                if self.is_following:
                    _log.info("%s", error)
                self.is_following = False
            await asyncio.sleep(_RETRY_SECONDS)

    async def _tell(self) -> None:
        silent, was_told = 0.0, False
        while True:
            await asyncio.sleep(_GATHER_SECONDS)
            silent += _GATHER_SECONDS
            # Once more after the last: it is shown here before it is in the database, which pages ask.
            if not self._came and not was_told and (self.is_following or silent < _LOOK_SECONDS):
                continue
            silent, was_told = 0.0, bool(self._came)
            came, self._came = dict(self._came) or {"look": 1}, Counter()
            for queue in self._pages:
                if queue.full():  # a slow page has something to ask about anyway
                    continue
                queue.put_nowait(came)
