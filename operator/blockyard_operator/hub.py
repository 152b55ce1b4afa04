"""The operator's line to the hub: which radios pools want, and the configs that their receivers came to.

A thread speaks ZMQ and knows nothing; this object belongs to the event loop and knows what was asked and answered. What
is not answered is asked again every second, and everything is to a hub that is new, which answers the same when it has
its folder still. See `blockyard.wire.radios`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from blockyard.errors import BadFrame
from blockyard.session import LinkSettings
from blockyard.transport import Dealer, Poller, dialled
from blockyard.wire import codec
from blockyard.wire import radios as wire
from blockyard_operator.core.view import RadioView

log = logging.getLogger(__name__)

SILENT_SECONDS: Final = 5.0
"""A hub that has said nothing for so long is silent; it answers every second."""
BEAT_SECONDS: Final = 1.0
_FRAMES: Final = 64
_TICK_SECONDS: Final = 0.25
_AGAIN_SECONDS: Final = 30.0
"""What was refused may be possible later, when another pool's port is free."""


class _Asked(msgspec.Struct):
    """What a pool wants, since when it was asked for, and the answer."""

    wanted: str
    known: str
    at: float
    radio: str = ""
    refusal: str = ""
    is_settled: bool = False
    """This hub, as it runs now, has a receiver for it."""
    again_at: float = 0.0
    """Not to be asked for again before, monotonic."""


class HubLine:
    """`on_news` is called in the event loop with a pool's name, '' for all; `is_stray`: nothing of a pool is left."""

    def __init__(self, settings: LinkSettings, on_news: Callable[[str], None], is_stray: Callable[[str], bool]) -> None:
        self._on_news = on_news
        self._is_stray = is_stray
        self._asked: dict[str, _Asked] = {}
        self._listening: set[str] = set()
        self._opening = ""
        self._heard_at = time.monotonic()
        self._silent = True
        self._refusal = ""
        self._loop = asyncio.get_running_loop()
        self._wire = _Wire(settings, lambda frame: self._loop.call_soon_threadsafe(self._hear, frame))
        self._beating: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and go on trying."""
        self._wire.start()
        self._beating = self._loop.create_task(self._beat())

    def stop(self) -> None:
        """End; receivers go on."""
        if self._beating is not None:
            self._beating.cancel()
        self._wire.end()

    @property
    def connected(self) -> bool:
        """Whether the hub answers."""
        return not self._silent

    def view(self, queue: str) -> RadioView:
        """What it says of a pool."""
        asked = self._asked.get(queue)
        listens = queue in self._listening
        if asked is None:
            return RadioView(silent=self._silent, listens=listens)
        return RadioView(
            silent=self._silent, asked=asked.wanted, asked_at=asked.at, radio=asked.radio, refusal=asked.refusal,
            listens=listens,
        )  # fmt: skip

    def ask(self, queue: str, wanted: str, known: str) -> None:
        """Ask for a receiver, until there is an answer, and again whenever there is another hub."""
        self._asked[queue] = _Asked(wanted, known, time.time())
        self._send_wish(queue)

    def shut(self, queue: str) -> None:
        """Have a pool's receiver shut, if it has one."""
        if self._asked.pop(queue, None) is not None or queue in self._listening:
            self._listening.discard(queue)
            self._wire.send(wire.Shut(queue))

    def forget(self, queue: str) -> None:
        """A pool is gone: ask for nothing more. Its receiver is shut when the last of it `is_stray`."""
        self._asked.pop(queue, None)

    # --- in the loop ------------------------------------------------------------------------------------------------

    def _send_wish(self, queue: str) -> None:
        asked = self._asked[queue]
        self._wire.send(wire.Listen(queue, asked.wanted, asked.radio or asked.known))

    async def _beat(self) -> None:
        while True:
            self._wire.send(wire.Hello(wire.VERSION))
            if not self._silent and time.monotonic() - self._heard_at > SILENT_SECONDS:
                log.warning("the hub is silent; pools go on as they are")
                self._silent = True
                self._on_news("")
            await asyncio.sleep(BEAT_SECONDS)

    def _hear(self, frame: bytes) -> None:
        try:
            message = codec.to_operator.decode(frame)
        except BadFrame as error:
            log.error("frame of the hub: %s", error)
            return
        match message:
            case wire.Here(opening, pools):
                self._heard_at = time.monotonic()
                self._take(opening, pools)
            case wire.Listening(pool, wanted, radio):
                self._listening.add(pool)
                self._settle(pool, wanted, radio, "")
            case wire.NotListening(pool, wanted, words):
                self._settle(pool, wanted, "", words)
            case wire.Refused(words) if words != self._refusal:
                log.error("the hub refuses this operator: %s", words)
                self._refusal = words

    def _take(self, opening: str, pools: list[str]) -> None:
        changed = {name for name in self._listening ^ set(pools) if name not in self._asked}
        self._listening = set(pools)
        if opening != self._opening:
            self._opening = opening
            for asked in self._asked.values():
                asked.is_settled, asked.again_at = False, 0.0
        for queue, asked in self._asked.items():
            if not asked.is_settled and self._heard_at >= asked.again_at:
                self._send_wish(queue)
        for queue in pools:
            if queue not in self._asked and self._is_stray(queue):
                log.info("the radio of a pool that is gone is shut", extra={"object": queue})
                self._wire.send(wire.Shut(queue))
        if self._silent:
            log.info("the hub answers")
            self._silent = False
            self._on_news("")
        for queue in changed:
            self._on_news(queue)

    def _settle(self, queue: str, wanted: str, radio: str, refusal: str) -> None:
        asked = self._asked.get(queue)
        if asked is None or asked.wanted != wanted:
            return  # it was asked for something else since
        asked.is_settled = not refusal
        asked.again_at = time.monotonic() + _AGAIN_SECONDS if refusal else 0.0
        if (asked.radio, asked.refusal) != (radio, refusal):
            asked.radio, asked.refusal = radio or asked.radio, refusal
            self._on_news(queue)


class _Wire(threading.Thread):
    """Owns the socket. What cannot be sent is let go: it will be said again."""

    def __init__(self, settings: LinkSettings, on_frame: Callable[[bytes], object]) -> None:
        super().__init__(name="hub-line", daemon=True)
        self._settings = settings
        self._on_frame = on_frame
        self._lock = threading.Lock()
        self._frames: list[bytes] = []
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ending = False

    def send(self, message: wire.FromOperator) -> None:
        """Send when this is possible, and that is soon."""
        with self._lock:
            self._frames.append(codec.encode(message))
        os.eventfd_write(self._wakeup, 1)

    def end(self) -> None:
        """Send what waits, and end; it must have been started."""
        self._ending = True
        os.eventfd_write(self._wakeup, 1)
        self.join()
        os.close(self._wakeup)

    def run(self) -> None:
        """Until `end`."""
        where = self._settings
        with dialled(where.endpoint, server_key=where.server_key, keys=where.keys, linger=0.2) as dealer:
            self._serve(dealer)

    def _serve(self, dealer: Dealer) -> None:
        poller = Poller()
        poller.register(dealer)
        poller.register(self._wakeup)
        while True:
            ending = self._ending
            ready = poller.poll(0 if ending else _TICK_SECONDS)
            if self._wakeup in ready:
                os.eventfd_read(self._wakeup)
            for frame in dealer.receive_all(_FRAMES) if dealer in ready else ():
                self._on_frame(frame)
            with self._lock:
                frames, self._frames = self._frames, []
            for frame in frames:
                dealer.send(frame)
            if ending:
                return
