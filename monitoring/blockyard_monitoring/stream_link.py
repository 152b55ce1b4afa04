"""The hub's second connection to the interchange: over it clients follow what happens, with the keys that they have.

A client asks for what came behind an event, and is answered once something did: so whoever is slow asks less often and
holds up nobody, and no buffer is there but the ring. A thread and a socket of its own, because looking things up for
followers must not delay what is to be stored.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from blockyard.errors import BadFrame
from blockyard.transport import Dealer, Poller, dialled
from blockyard.wire import codec, control, hub
from blockyard.wire.monitoring import VERSION, unknown_kinds
from blockyard_monitoring.link import LinkSettings
from blockyard_monitoring.sinks.ring import Follower, Ring, Wanted

_log = logging.getLogger(__name__)

_OFFER_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.1
"""While there is no connection."""
_FRAMES: Final = 64
_MOST_WAIT_SECONDS: Final = 10.0
_MOST_OPEN: Final = 4096
"""Questions; when there are more, the oldest is answered with nothing."""

_encode = msgspec.msgpack.Encoder().encode


class _Open(NamedTuple):
    """A question that waits for events."""

    follower: Follower
    until: float


class Shows:
    """The open questions. Pure, but for the ring that it looks into."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._open: dict[int, _Open] = {}

    def ask(self, show: hub.Show, now: float) -> hub.Shown | None:
        """Take in a question; its answer, if it need not wait."""
        asked = show.question
        pools = None if show.pools is None else frozenset(show.pools)
        wanted = Wanted(frozenset(asked.kinds), frozenset(asked.pools), frozenset(asked.runs), pools, show.user)
        if fault := unknown_kinds(wanted.kinds):
            return _shown(show.number, control.Unknown(f"events: {fault}"))
        follower = Follower(self._ring, wanted, asked.after)
        if not asked.after:
            return _shown(show.number, control.EventsAre([], follower.after))
        self._open[show.number] = _Open(follower, now + min(max(0.0, asked.wait), _MOST_WAIT_SECONDS))
        return None

    def answers(self, now: float) -> Iterator[hub.Shown]:
        """Of those that have something to see, or have waited for long enough."""
        crowd = len(self._open) - _MOST_OPEN
        for place, (number, (follower, until)) in enumerate(list(self._open.items())):
            lines = follower.next(0.0)
            if lines or lines is None or now >= until or place < crowd:
                del self._open[number]
                shown = [control.EventLine(*line) for line in lines or ()]
                yield _shown(number, control.EventsAre(shown, follower.after))

    def seconds_left(self, now: float) -> float:
        """Until one has waited for long enough, or there is more to look through."""
        if any(one.follower.has_more for one in self._open.values()):
            return 0.0
        return max(0.0, min((one.until for one in self._open.values()), default=math.inf) - now)


def _shown(number: int, answer: control.Answer) -> hub.Shown:
    return hub.Shown(number, msgspec.Raw(_encode(answer)))


class StreamLink(threading.Thread):
    """One thread, one socket."""

    def __init__(self, settings: LinkSettings, ring: Ring) -> None:
        super().__init__(name="stream-link", daemon=True)
        self._settings = settings
        self._shows = Shows(ring)
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._ending = False
        self._refusal = ""
        ring.on_change = self._wake

    def run(self) -> None:
        """Until `end`."""
        where = self._settings
        with dialled(where.endpoint, server_key=where.server_key, keys=where.keys, linger=0.0) as dealer:
            self._serve(dealer)

    def end(self, timeout: float = 5.0) -> None:
        """Answer nobody any more; it must have been started."""
        self._wake(ending=True)
        self.join(timeout)
        with self._lock:
            os.close(self._wakeup)

    def _wake(self, *, ending: bool = False) -> None:
        with self._lock:
            if not self._ending:
                self._ending = ending
                os.eventfd_write(self._wakeup, 1)

    def _serve(self, dealer: Dealer) -> None:
        poller = Poller()
        poller.register(dealer)
        poller.register(self._wakeup)
        offer_at = 0.0
        while not self._ending:
            now = time.monotonic()
            if now >= offer_at:
                is_there = dealer.send(codec.encode(hub.Offer(VERSION)))
                offer_at = now + (_OFFER_SECONDS if is_there else _AGAIN_SECONDS)
            ready = poller.poll(min(offer_at - now, self._shows.seconds_left(now)))
            if self._wakeup in ready:
                os.eventfd_read(self._wakeup)
            now = time.monotonic()
            if dealer in ready:
                for frame in dealer.receive_all(_FRAMES):
                    self._hear(dealer, frame, now)
            for shown in self._shows.answers(now):
                dealer.send(codec.encode(shown))  # if there is nobody, it is asked again

    def _hear(self, dealer: Dealer, frame: bytes, now: float) -> None:
        try:
            message = codec.to_hub.decode(frame)
        except BadFrame as error:
            _log.error("frame of the interchange: %s", error)
            return
        match message:
            case hub.Show():
                if (shown := self._shows.ask(message, now)) is not None:
                    dealer.send(codec.encode(shown))
            case hub.Refused(words):
                if words != self._refusal:
                    _log.error("the interchange refuses to be shown events: %s", words)
                self._refusal = words
