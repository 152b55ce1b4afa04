"""A program that follows tries of a system as they end, by `Client.events`, on a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from blockyard import Client
from blockyard.errors import BrokenBlockyard

Tries = set[tuple[str, int]]
"""Names of tasks, and epochs."""

ENDED_NOT = ("assigned", "running")


class Follower:
    """What it saw so far, over all of its connections. `has_missed`: it was told so."""

    def __init__(self) -> None:
        self.tries: dict[str, Tries] = {}
        """By submission."""
        self.has_missed = False
        self._after = ""

    @contextlib.contextmanager
    def following(self, client: Client) -> Iterator[None]:
        """For the time of the block; the next time it goes on where it was."""
        loop = asyncio.new_event_loop()
        looking = loop.create_task(self._look(client))
        thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([looking])))
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(looking.cancel)
            thread.join()
            with contextlib.suppress(asyncio.CancelledError):
                looking.result()  # it may have ended before, which is an error
            loop.close()

    def seen(self) -> int:
        """How many tries."""
        return sum(map(len, list(self.tries.values())))

    async def _look(self, client: Client) -> None:
        while True:  # hubs that are killed one after the other may be away for longer than a follower waits
            with contextlib.suppress(BrokenBlockyard):
                await self._look_until_broken(client)

    async def _look_until_broken(self, client: Client) -> None:
        async for event in client.events(kinds=["Tries"], after=self._after):
            self._after = event["id"]
            if event["record"] == "lost":
                self.has_missed = True
                continue
            ended = {(one["task"], one["epoch"]) for one in event["tries"] if one["state"] not in ENDED_NOT}
            self.tries.setdefault(event["submission"], set()).update(ended)
