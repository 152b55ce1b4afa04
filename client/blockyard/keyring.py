"""The keys of one interchange and of those who may talk to it, as files in one folder.

``clients.key``, ``managers.key`` and ``hubs.key`` are the interchange's own, one for each socket; ``operators.key`` is
a hub's, for the socket where operators connect, ``radios.key`` its receivers'. ``client.key`` and ``pool-NAME.key`` are
what clients and a pool's managers prove themselves with, ``keeper-NAME.key`` what a client does that may define pools,
``hub-NAME.key`` what a hub does, which is told of everything. ``allowed/`` holds the public halves of those that are
welcome, one file each: ``client-NAME.pub``, ``pool-NAME.pub``, ``keeper-NAME.pub``, ``hub-NAME.pub``; to revoke a key
is to remove its file. A client's may have a second line ``pools = NAME, NAME``: the only pools that it may use.
All files are 0600, the folder 0700. Where nothing has to be made, a folder that cannot be written to will do.
"""

import errno
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from blockyard.errors import BadKey
from blockyard.private_files import write_private
from blockyard.transport import KeyPair, read_public_key
from blockyard.transport.keys import is_empty

DEFAULT_CLIENT: Final = "default"
KINDS: Final = ("client", "pool", "keeper", "hub")
_POOLS = re.compile(r"^pools = (.*)$", re.MULTILINE)
_SHORT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_log = logging.getLogger(__name__)


class Guest(NamedTuple):
    """Whom an allowed key proves."""

    user: str
    """``client:NAME``, ``pool:NAME``, ``keeper:NAME`` or ``hub:NAME``."""
    pools: frozenset[str] | None
    """The only pools that it may use; None: all."""


class KeyRing:
    """The folder. Nothing is cached: a key that was issued or revoked counts from the next look on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._allowed = folder / "allowed"

    def interchange(self, role: str) -> KeyPair:
        """The interchange's own pair for 'clients', 'managers' or 'hubs', made at first use.

        Raises BadKey when there is none and none can be made.
        """
        path = self.folder / f"{role}.key"
        try:
            return KeyPair.load_or_new(path)
        except OSError as error:
            raise BadKey(f"key file {path}: there is none, and none can be made there: {error.strerror}") from error

    def present(self, role: str) -> KeyPair | None:
        """The interchange's own pair as its file says now; None when there is none, or it is just being replaced."""
        try:
            return KeyPair.load(self.folder / f"{role}.key")
        except BadKey:
            return None

    def client(self, name: str = DEFAULT_CLIENT) -> KeyPair:
        """A client's pair, made and allowed at first use."""
        return self.issue(f"client-{name}")

    def pool(self, name: str) -> KeyPair:
        """The pair of a pool's managers, made and allowed at first use."""
        return self.issue(f"pool-{name}")

    def path(self, name: str) -> Path:
        """The file of an issued pair."""
        return self.folder / f"{name}.key"

    def issue(self, name: str, pools: Iterable[str] | None = None) -> KeyPair:
        """Make a pair ``client-…``, ``pool-…`` or ``keeper-…`` and allow it; one that exists is allowed as it is.

        `pools`: the only ones that a client may use from now on, also with a key that exists.
        Raises BadKey when the name has another form, or for pools that cannot be.
        """
        kind, _, rest = name.partition("-")
        if kind not in KINDS or not rest or "/" in name:
            raise BadKey(f"key name {name!r}: expected client-NAME, pool-NAME, keeper-NAME or hub-NAME")
        pools = None if pools is None else list(pools)
        if pools is not None:
            _check_limit(name, pools)
        pair = KeyPair.load_or_new(self.path(name))
        self._allowed.mkdir(mode=0o700, parents=True, exist_ok=True)
        public = self._allowed / f"{name}.pub"
        if pools is not None or not public.exists() or is_empty(public):
            write_private(public, allowed(pair.public, pools).encode())
        return pair

    def pools_of(self, name: str) -> frozenset[str] | None:
        """The only pools that an allowed key is good for; None: all."""
        try:
            return _pools((self._allowed / f"{name}.pub").read_text())
        except FileNotFoundError:
            return None

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

    def changed_at(self) -> int:
        """An instant that differs after keys were allowed or revoked; 0 while none was ever."""
        try:
            return self._allowed.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def guests(self, kind: str) -> dict[bytes, Guest]:
        """Public key to whom it proves, for one kind of `KINDS`. A file without a key, or gone, lets nobody in.

        Raises OSError when this process is short of descriptors or memory, which says nothing of who is allowed.
        """
        found: dict[bytes, Guest] = {}
        for path in self._files(kind):
            try:
                found[read_public_key(path)] = Guest(path.stem.replace("-", ":", 1), _pools(path.read_text()))
            except (BadKey, FileNotFoundError) as error:
                if isinstance(short := error.__cause__, OSError) and short.errno in _SHORT:
                    raise short from None
                _log.warning("%s: %s", path.name, error)
        return found

    def _files(self, kind: str) -> list[Path]:
        try:
            names = os.listdir(self._allowed)  # glob may swallow errors
        except FileNotFoundError:
            return []
        return [self._allowed / name for name in sorted(names) if re.fullmatch(rf"{kind}-.*\.pub", name)]


def allowed(public: bytes, pools: Iterable[str] | None = None) -> str:
    """The text of a file in ``allowed/``."""
    limit = "" if pools is None else f"pools = {', '.join(pools)}\n"
    return f"public-key = {public.decode()}\n{limit}"


def _check_limit(name: str, pools: list[str]) -> None:
    """Raise BadKey for pools that a key cannot be limited to."""
    if not name.startswith("client-"):
        raise BadKey(f"key {name!r}: only a client's key is limited to pools; a pool's own is good for that pool alone")
    if not pools or not all(re.fullmatch(r"[^\s,]+", pool) for pool in pools):
        raise BadKey(f"key {name!r}: pools={','.join(pools)!r}: give names of pools, parted by commas")


def _pools(text: str) -> frozenset[str] | None:
    line = _POOLS.search(text)
    return None if line is None else frozenset(name for part in line[1].split(",") if (name := part.strip()))
