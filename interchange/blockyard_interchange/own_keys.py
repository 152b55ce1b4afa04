"""The pairs with which an interchange proves itself, and when another one that was put into its key ring takes over.

Not at once: those who are to know it by its new key learn that from elsewhere, in a cluster from Secrets, which each
node shows when it looks again. Until then the old pair is in use, and no connection ends.
"""

from collections.abc import Mapping
from typing import Final, Literal

from blockyard.keyring import KeyRing
from blockyard.transport import KeyPair

Role = Literal["clients", "managers"]
ROLES: Final[tuple[Role, ...]] = ("clients", "managers")


class OwnKeys:
    """`after`: seconds from when a new pair is seen until it is used. Raises BadKey as `KeyRing.interchange` does."""

    def __init__(self, ring: KeyRing, after: float) -> None:
        self._ring = ring
        self._after = after
        self.used: dict[Role, KeyPair] = {role: ring.interchange(role) for role in ROLES}
        self._coming: dict[Role, tuple[KeyPair, float]] = {}
        """A new pair, and when it takes over."""

    def look(self, now: float) -> Mapping[Role, KeyPair]:
        """Look at the key ring; which pairs are to be used from now on instead of those before."""
        due: dict[Role, KeyPair] = {}
        for role in ROLES:
            found = self._ring.present(role)
            if found is None or found == self.used[role]:
                self._coming.pop(role, None)
                continue
            pair, at = self._coming.get(role, (None, 0.0))
            if pair != found:
                at = now + self._after
                self._coming[role] = (found, at)
            if now >= at:
                due[role] = self.used[role] = found
                del self._coming[role]
        return due
