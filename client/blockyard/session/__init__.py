"""A client's side of its link to the interchange: one thread that owns the socket, and what other threads hand it.

`core` decides (pure): what to send, what to keep until it is confirmed, what to send again after a reconnect.
`link` is the thread. Futures, pickling and the user's API are elsewhere.
"""

from blockyard.session.core import SessionCore
from blockyard.session.link import Link, LinkSettings

__all__ = ["Link", "LinkSettings", "SessionCore"]
