"""The hub's link to the interchange: takes in its notes, puts them on the bus, confirms what the sinks have stored.

The interchange keeps a note until it is confirmed and sends it again after every reconnect, so nothing here is kept on
disk: who dies is told again.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from blockyard.errors import BadFrame
from blockyard.radios import Arrival
from blockyard.transport import Dealer, KeyPair, Poller, dialled
from blockyard.wire import codec, hub
from blockyard.wire.monitoring import VERSION, micros
from blockyard_monitoring.bus import Bus
from blockyard_monitoring.confirming import Confirming
from blockyard_monitoring.inlet import Inlet
from blockyard_monitoring.refusals import Refusals

_log = logging.getLogger(__name__)

RADIO: Final = "interchange"
_BEAT_SECONDS: Final = 0.5
_CONFIRM_SECONDS: Final = 0.1
"""Between two confirmations: each costs the interchange a turn and an entry of its journal."""
_FRAMES: Final = 64
_ROOM_SECONDS: Final = 0.2


class LinkSettings(NamedTuple):
    """Where the interchange is, and the keys of both."""

    endpoint: str
    server_key: bytes
    keys: KeyPair


class InterchangeLink(threading.Thread):
    """One thread, one socket. `clock`: UTC seconds."""

    def __init__(self, settings: LinkSettings, bus: Bus, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name="interchange-link", daemon=True)
        self._settings = settings
        self._bus = bus
        self._clock = clock
        self._lock = threading.Lock()
        self._confirmed = 0
        self._inlet = Inlet(bus)
        self._refusals = Refusals(bus, RADIO)
        self._confirming = Confirming()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_called = False
        """The thread knows, or will see, that there is more to confirm."""
        self._ending = False
        self.refusal = ""
        """Why the interchange will not talk to this hub."""

    def run(self) -> None:
        """Until `end`."""
        where = self._settings
        with dialled(where.endpoint, server_key=where.server_key, keys=where.keys, linger=0.2) as dealer:
            self._serve(dealer)

    def _serve(self, dealer: Dealer) -> None:
        poller = Poller()
        poller.register(dealer)
        poller.register(self._wakeup)
        said_at = 0.0
        self._follow(dealer)
        while not self._ending:
            has_more = self._confirming.confirmed > self._confirmed
            due_at = said_at + (_CONFIRM_SECONDS if has_more else _BEAT_SECONDS)
            if self._inlet.has_room():
                ready: list[object] = list(poller.poll(max(0.0, due_at - time.monotonic())))
            else:
                ready = []  # what else is sent waits in the interchange
                self._bus.wait_for_room(_ROOM_SECONDS)
            if self._wakeup in ready:
                os.eventfd_read(self._wakeup)
            if dealer in ready:
                for frame in dealer.receive_all(_FRAMES):
                    self._hear(dealer, frame)
            if time.monotonic() >= due_at:
                said_at = time.monotonic()
                with self._lock:
                    self._is_called, stored = False, self._confirming.confirmed
                if dealer.send(codec.encode(hub.Confirm(stored))):
                    self._confirmed = stored
        dealer.send(codec.encode(hub.Confirm(self._confirming.confirmed)))

    def end(self, timeout: float = 5.0) -> None:
        """Confirm what is stored, and end."""
        with self._lock:
            self._ending = True
        os.eventfd_write(self._wakeup, 1)
        self.join(timeout)
        os.close(self._wakeup)

    def _follow(self, dealer: Dealer) -> None:
        with self._lock:
            self._confirming = Confirming()
        self._confirmed = 0
        self._inlet.forget()
        dealer.send(codec.encode(hub.Follow(VERSION)))

    def _hear(self, dealer: Dealer, frame: bytes) -> None:
        try:
            message = codec.to_hub.decode(frame)
        except BadFrame as error:
            self._refusals.add("malformed", str(error))
            return
        match message:
            case hub.Notes(number, packets):
                self._take(number, packets)
            case hub.Relayed(packets):
                self._take(0, packets)
            case hub.WhoAreYou():
                self._follow(dealer)
            case hub.Refused(words):
                if words != self.refusal:
                    _log.error("the interchange refuses this hub: %s", words)
                self.refusal = words

    def _take(self, last: int, packets: list[hub.Told]) -> None:
        """`last`: number of the last of them, which are to be confirmed; 0: they are not."""
        arrived = micros(self._clock())
        for place, told in enumerate(packets, 1):
            number = last - len(packets) + place if last else 0
            decoder = codec.packet_of_worker if told.pool else codec.packet_of_interchange
            on_stored = self._begin(number) if number else None
            try:
                packet = decoder.decode(told.packet)
            except BadFrame as error:
                self._refusals.add("malformed", f"{f'pool {told.pool}: ' if told.pool else ''}{error}")
                if on_stored is not None:
                    on_stored()  # it will not get better
                continue
            self._inlet.take(Arrival(packet, RADIO, arrived, on_stored, told.pool))

    def _begin(self, number: int) -> Callable[[], None]:
        with self._lock:
            confirming = self._confirming
            confirming.begin(number)

        def on_stored() -> None:
            with self._lock:
                has_more = confirming.done(number) and confirming is self._confirming
                if has_more and not self._is_called and not self._ending:
                    self._is_called = True
                    os.eventfd_write(self._wakeup, 1)

        return on_stored
