"""The keys of one interchange and of those who may talk to it, as files in one folder.

``clients.key`` and ``managers.key`` are the interchange's own, one for each of its two sockets. ``client.key`` and
``pool-NAME.key`` are what clients and a pool's managers prove themselves with. ``allowed/`` holds the public halves of
those that are welcome, one file each: ``client-NAME.pub``, ``pool-NAME.pub``; to revoke a key is to remove its file.
All files are 0600, the folder 0700.
"""

from collections.abc import Iterator
from pathlib import Path

from blockyard.errors import BadKey
from blockyard.transport import KeyPair, read_public_key

DEFAULT_CLIENT = "default"


class KeyRing:
    """The folder. Nothing is cached: a key that was issued or revoked counts from the next look on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._allowed = folder / "allowed"

    def interchange(self, role: str) -> KeyPair:
        """The interchange's own pair for 'clients' or 'managers', made at first use."""
        return KeyPair.load_or_new(self.folder / f"{role}.key")

    def client(self, name: str = DEFAULT_CLIENT) -> KeyPair:
        """A client's pair, made and allowed at first use."""
        return self.issue(f"client-{name}")

    def pool(self, name: str) -> KeyPair:
        """The pair of a pool's managers, made and allowed at first use."""
        return self.issue(f"pool-{name}")

    def path(self, name: str) -> Path:
        """The file of an issued pair."""
        return self.folder / f"{name}.key"

    def issue(self, name: str) -> KeyPair:
        """Make a pair ``client-…`` or ``pool-…`` and allow it; one that exists is allowed as it is.

        Raises BadKey when the name has another form.
        """
        kind, _, rest = name.partition("-")
        if kind not in ("client", "pool") or not rest or "/" in name:
            raise BadKey(f"key name {name!r}: expected client-NAME or pool-NAME")
        pair = KeyPair.load_or_new(self.path(name))
        self._allowed.mkdir(mode=0o700, parents=True, exist_ok=True)
        public = self._allowed / f"{name}.pub"
        if not public.exists():
            public.write_text(f"public-key = {pair.public.decode()}\n")
            public.chmod(0o600)
        return pair

    def revoke(self, name: str) -> None:
        """Take a key off the allow-list; connections that stand end with the interchange's next look.

        Raises BadKey when it was not allowed.
        """
        try:
            (self._allowed / f"{name}.pub").unlink()
        except FileNotFoundError:
            known = ", ".join(sorted(self.users())) or "none"
            raise BadKey(f"key {name!r} is not allowed, so it can't be revoked; allowed are: {known}") from None

    def users(self) -> Iterator[str]:
        """Names of the allowed keys."""
        return (path.stem for path in sorted(self._allowed.glob("*.pub")))

    def allowed(self, kind: str) -> dict[bytes, str]:
        """Public key to user id (``client:NAME``, ``pool:NAME``) for one kind, 'client' or 'pool'."""
        return {read_public_key(path): path.stem.replace("-", ":", 1) for path in self._allowed.glob(f"{kind}-*.pub")}
