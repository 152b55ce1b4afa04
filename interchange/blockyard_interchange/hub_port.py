"""Where the hub connects: a socket of its own, so that it is heard while clients are held. None without monitoring.

What is told, and when it may be forgotten, is `core.notes`' to decide; what clients are shown goes by `core.showing`.
"""

import logging

from blockyard.errors import BadFrame
from blockyard.keyring import KeyRing
from blockyard.transport import Context, Gate, Router
from blockyard.wire import codec, hub
from blockyard_interchange.complaints import Complaints
from blockyard_interchange.core import notes, showing
from blockyard_interchange.core.state import State

_log = logging.getLogger(__name__)

_FRAMES_A_TURN = 64
_DOMAIN = "hub"


class HubPort:
    """The socket, and the allow-list of hubs."""

    def __init__(self, context: Context, gate: Gate, endpoint: str, ring: KeyRing) -> None:
        """Bind. Raises OSError when the endpoint can't be bound, BadKey when there is no key."""
        self._gate = gate
        self._ring = ring
        self._allowed: set[str] = set()
        self._complaints = Complaints(_log)
        self.look_at_ring()
        self.socket = Router(context, endpoint, keys=ring.interchange("hubs"), domain=_DOMAIN)

    def look_at_ring(self) -> None:
        """Let in whom the key ring allows."""
        users = {key: f"{guest.user} {key.decode()}" for key, guest in self._ring.guests("hub").items()}
        self._allowed = set(users.values())
        self._gate.allow(_DOMAIN, users)

    def read(self, state: State, now: float) -> None:
        """Take in what hubs say."""
        for peer, proven, frame in self.socket.receive_all(_FRAMES_A_TURN):
            if state.notes is None or proven not in self._allowed:
                self.send(peer, hub.Refused("this key was revoked"))
                continue
            try:
                message = codec.from_hub.decode(frame)
            except BadFrame as error:
                state.counters.refused_frames += 1
                self._complaints.add("frame of a hub refused: %s", error)
                self.send(peer, hub.Refused(str(error)))
                continue
            if isinstance(message, hub.Offer | hub.Shown):
                showing.from_hub(state, peer, message, now)
            else:
                notes.from_hub(state, state.notes, peer, message, now)

    def send(self, peer: bytes, message: hub.ToHub) -> None:
        """Send; what does not arrive is asked for again after the hub's next `Follow`."""
        self.socket.send(peer, codec.encode(message))

    def close(self) -> None:
        """Close at once."""
        self.socket.close()
