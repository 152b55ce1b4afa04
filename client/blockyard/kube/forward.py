"""A local socket behind which an interchange in a cluster is, wherever its pod has gone.

Each connection to the socket becomes one to a pod of the interchange's Service, chosen anew each time: so the link's
own reconnecting is what follows a pod that moves. A connection on which something was said up and nothing comes down is
cut after a while, because a node that was cut off says no goodbye.

The socket lies in a folder of this user's; who reaches it still has to prove itself by a key.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from blockyard.kube.api import Api, ApiSettings
from blockyard.kube.faults import ApiError, ApiUnreachable
from blockyard.kube.kinds import POD, SERVICE
from blockyard.kube.loop_thread import LoopThread
from blockyard.kube.places import Address, Place, place_of, selector_of
from blockyard.kube.tunnel import Tunnel

_log = logging.getLogger(__name__)

SILENT_SECONDS: Final = 10.0
"""A client pings every heartbeat (1 s) and is answered at once."""
_CHUNK: Final = 64 * 1024
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 3.0


class Forward:
    """The socket and its thread, from `start` to `stop`."""

    def __init__(self, settings: ApiSettings, address: Address) -> None:
        self._settings = settings
        self._address = address
        self._folder = Path(tempfile.mkdtemp(prefix="blockyard-"))
        self._path = self._folder / "clients.sock"
        self._thread = LoopThread("blockyard-forward", self._serve)
        self._pause = 0.0
        self._complaint = ""
        self.connections = 0
        """To pods, so far."""

    @property
    def endpoint(self) -> str:
        """Where a link connects to."""
        return f"ipc://{self._path}"

    @property
    def complaint(self) -> str:
        """Why there is no connection to the interchange; '' when there is one, or none was tried."""
        return self._complaint

    def start(self) -> None:
        """Listen. Raises NoCluster."""
        self._thread.start()

    def stop(self) -> None:
        """End all connections; idempotent, any thread."""
        self._thread.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self) -> None:
        async with await Api.connect(self._settings) as api:
            connections: set[asyncio.Task[None]] = set()

            async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                connections.add(task)
                try:
                    await self._relay(api, reader, writer)
                except asyncio.CancelledError:
                    pass  # `stop` did that; Python 3.11 would log a cancelled handler as a fault
                finally:
                    connections.discard(task)
                    writer.close()

            server = await asyncio.start_unix_server(on_connection, self._path, limit=_CHUNK)
            async with server:
                self._thread.ready()
                await self._thread.ending.wait()
                for task in connections:
                    task.cancel()
                await asyncio.gather(*connections, return_exceptions=True)

    async def _relay(self, api: Api, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = False

        def on_heard() -> None:
            nonlocal heard
            heard = True
            self._on_heard()

        try:
            place = await find(api, self._address)
            tunnel = await api.tunnel(self._address.namespace, place.pod, place.port)
            try:
                await _Relay(tunnel, reader, writer, on_heard).run()
            finally:
                await tunnel.close()
        except (ApiError, ApiUnreachable, OSError) as error:
            self._complain(str(error))
        if not heard:  # the link tries again as soon as its connection is closed
            self._pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, 2 * self._pause))
            await asyncio.sleep(self._pause)

    def _on_heard(self) -> None:
        """The interchange has said something on a connection: an open tunnel says nothing of who listens at its end."""
        self._pause = 0.0
        self.connections += 1
        if self._complaint:
            _log.info("connected to the interchange again")
        self._complaint = ""

    def _complain(self, words: str) -> None:
        # Once, until it is connected again: while a pod moves there is another reason each second.
        _log.log(logging.DEBUG if self._complaint else logging.WARNING, "no connection to the interchange: %s", words)
        self._complaint = words


class _Relay:
    """One connection, both ways."""

    def __init__(
        self,
        tunnel: Tunnel,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_heard: Callable[[], None],
    ) -> None:
        self._tunnel = tunnel
        self._reader = reader
        self._writer = writer
        self._on_heard: Callable[[], None] | None = on_heard
        """Told once, of the first that comes down."""
        self._unanswered: float | None = None
        """Since when something was sent up and nothing has come down."""

    async def run(self) -> None:
        """Until one side has ended, or is taken to be gone. Raises ApiUnreachable, OSError."""
        ways = [asyncio.ensure_future(way()) for way in (self._up, self._down, self._watch)]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _up(self) -> None:
        while data := await self._reader.read(_CHUNK):
            if self._unanswered is None:
                self._unanswered = time.monotonic()
            await self._tunnel.send(data)

    async def _down(self) -> None:
        while data := await self._tunnel.receive():
            self._unanswered = None
            if self._on_heard is not None:
                self._on_heard()
                self._on_heard = None
            self._writer.write(data)
            await self._writer.drain()

    async def _watch(self) -> None:
        while self._unanswered is None or time.monotonic() - self._unanswered < SILENT_SECONDS:
            await asyncio.sleep(SILENT_SECONDS / 10)
        raise ApiUnreachable("talk to the interchange's pod", f"it has been silent for {SILENT_SECONDS:g} s")


async def find(api: Api, address: Address) -> Place:
    """The pod of the interchange that serves now. Raises ApiError, ApiUnreachable."""
    service = await api.get(SERVICE, address.namespace, address.service)
    labels = selector_of(service)
    pods, _ = await api.list(POD, address.namespace, labels=labels) if labels else ([], "")
    place = place_of(service, address.port, pods)
    if place is None:
        name = f"{address.namespace}/{address.service}"
        raise ApiUnreachable(f"find a pod of Service {name}", f"none of {len(pods)} runs (selector {labels!r})")
    return place
