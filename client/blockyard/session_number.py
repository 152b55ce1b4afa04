"""The number of a session, by which its tasks are numbered."""

import os

from blockyard.ids import MAX_SESSION, SessionId


def draw() -> SessionId:
    """One at random. Another session may have it; the interchange refuses it then."""
    return SessionId(int.from_bytes(os.urandom(8), "big") % MAX_SESSION + 1)
