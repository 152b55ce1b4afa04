"""Where the operator connects: it asks for the receivers of pools, and is told their configs. See `wire.radios`.

Who may ask is the key ring's: keepers. Nobody else learns a pool's keys here.
"""

import logging
import os
import secrets
import threading
from typing import Final

from blockyard.errors import BadFrame, BlockyardError
from blockyard.keyring import KeyRing
from blockyard.transport import Context, Doors, Gate, KeyPair, Poller, Router
from blockyard.wire import codec, radios
from blockyard_monitoring.pool_radios import PoolRadios

_log = logging.getLogger(__name__)

_DOMAIN: Final = "operator"
_FRAMES: Final = 64
_LOOK_SECONDS: Final = 1.0
"""Between two looks at how many files are open, at least."""


class OperatorDoor(threading.Thread):
    """One thread, one socket; the pools' radios are its own once it is started."""

    def __init__(self, endpoint: str, keys: KeyPair, ring: KeyRing, pools: PoolRadios) -> None:
        """Bind. Raises OSError when the endpoint can't be bound."""
        super().__init__(name="operator-door", daemon=True)
        self._pools = pools
        self._ring = ring
        self._opening = secrets.token_hex(8)
        self._context = Context()
        self._gate = Gate(self._context, self._look_at_ring)
        self._look_at_ring()
        try:
            self._router = Router(self._context, endpoint, keys=keys, domain=_DOMAIN)
        except OSError:
            self._context.close()
            raise
        self.endpoint = self._router.endpoint
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ending = False

    def run(self) -> None:
        """Until `end`."""
        poller = Poller()
        for readable in (self._gate, self._router, self._wakeup):
            poller.register(readable)
        doors = Doors(self._router)
        try:
            while not self._ending:
                ready = poller.poll(_LOOK_SECONDS)
                doors.look()
                if self._gate in ready:
                    self._gate.answer()
                if self._router in ready:
                    for peer, _, frame in self._router.receive_all(_FRAMES):
                        self._router.send(peer, codec.encode(self._answer(frame)))
        finally:
            self._context.close()

    def end(self) -> None:
        """Answer nobody any more; it must have been started."""
        self._ending = True
        os.eventfd_write(self._wakeup, 1)
        self.join()
        os.close(self._wakeup)

    def _look_at_ring(self) -> bool:
        self._gate.allow(_DOMAIN, {key: guest.user for key, guest in self._ring.guests("keeper").items()})
        return True

    def _answer(self, frame: bytes) -> radios.ToOperator:
        try:
            message = codec.from_operator.decode(frame)
        except BadFrame as error:
            _log.error("frame of an operator: %s", error)
            return radios.Refused(str(error))
        match message:
            case radios.Hello(version) if version != radios.VERSION:
                return radios.Refused(f"the operator speaks version {version} of this, the hub {radios.VERSION}")
            case radios.Listen(pool, wanted, known):
                return self._listen(pool, wanted, known)
            case radios.Shut(pool):
                self._pools.shut(pool)
        return radios.Here(self._opening, self._pools.pools)

    def _listen(self, pool: str, wanted: str, known: str) -> radios.ToOperator:
        try:
            return radios.Listening(pool, wanted, self._pools.listen(pool, wanted, known))
        except (BlockyardError, OSError) as error:
            _log.warning("pool %s gets no radio: %s", pool, error)
            return radios.NotListening(pool, wanted, str(error))
        except Exception as error:  # noqa: BLE001 - a stranger's radio; it harms its pool only
            _log.exception("pool %s gets no radio, which broke", pool)
            return radios.NotListening(pool, wanted, f"{type(error).__name__}: {error}")
