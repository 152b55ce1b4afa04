"""The only home of ZMQ: CURVE-authenticated sockets, their keys, and one poller for sockets and file descriptors.

Every link is a `Dealer` (client, manager) connected to a `Router` (interchange). What travels is `blockyard.wire`'s.
A socket belongs to one thread; a `Context` may be shared.
"""

from blockyard.transport.adaptive_poller import AdaptivePoller
from blockyard.transport.doors import Doors
from blockyard.transport.keys import KeyPair, read_public_key
from blockyard.transport.sockets import Announce, Connections, Context, Dealer, Pollable, Poller, Router, dialled
from blockyard.transport.zap import AllowList, Gate

__all__ = [
    "AllowList", "Announce", "Connections", "Context", "Dealer", "Doors", "Gate", "KeyPair", "Pollable", "Poller",
    "Router", "AdaptivePoller", "dialled", "read_public_key",
]  # fmt: skip
