"""CURVE key pairs on disk: a file per pair, readable by its owner only (0600), written whole or not at all.

The format is ZMQ's own certificate file (RFC 26 names the keys, https://rfc.zeromq.org/spec/26/), reduced to two lines
``public-key = …`` and ``secret-key = …`` in Z85. Which keys are allowed where is `zap`'s business.
"""

import hashlib
import os
import re
import stat
from pathlib import Path

import msgspec
import zmq
from zmq.utils import z85

from blockyard.errors import BadKey

_LINE = re.compile(r"^(public|secret)-key = ([0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40})$", re.MULTILINE)


class KeyPair(msgspec.Struct, frozen=True):
    """A public and a secret key, 40 bytes of Z85 each."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"

    @classmethod
    def new(cls) -> "KeyPair":
        """Make a fresh pair."""
        public, secret = zmq.curve_keypair()
        return cls(public, secret)

    @classmethod
    def derive(cls, secret: bytes, role: str) -> "KeyPair":
        """The pair of a role, at most 16 letters, the same for all who share a secret of 32 bytes."""
        found = z85.encode(hashlib.blake2b(secret, person=role.encode(), digest_size=32).digest())
        return cls(zmq.curve_public(found), found)

    @classmethod
    def load(cls, path: Path) -> "KeyPair":
        """Read a pair.

        Raises BadKey when the file is absent, open to other users, or holds no pair.
        """
        return cls.from_text(_read(path, secret=True), f"key file {path}")

    @classmethod
    def from_text(cls, text: str, where: str) -> "KeyPair":
        """Read a pair from the text of a key file. Raises BadKey, naming `where` it is from, when it holds none."""
        found = dict(_LINE.findall(text))
        if set(found) != {"public", "secret"}:
            raise BadKey(f"{where}: no key pair in it; make a new one with 'blockyard keys issue'")
        return cls(found["public"].encode(), found["secret"].encode())

    def to_text(self) -> str:
        """The text of a key file."""
        return f"public-key = {self.public.decode()}\nsecret-key = {self.secret.decode()}\n"

    def save(self, path: Path) -> None:
        """Write the pair to a file of mode 0600; the folder is made with 0700 when absent."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self.to_text())
        fresh.replace(path)

    @classmethod
    def load_or_new(cls, path: Path) -> "KeyPair":
        """Read the pair, or make and save it when there is no file. Two processes at once end with the same pair.

        An empty file is none: that is what a power cut leaves of one that was just made.
        """
        try:
            return cls.load(path)
        except BadKey:
            if is_empty(path):
                path.unlink(missing_ok=True)
            elif path.exists():
                raise
        pair = cls.new()
        draft = path.with_name(f"{path.name}.new.{os.getpid()}")
        pair.save(draft)
        try:
            os.link(draft, path)
        except FileExistsError:
            return cls.load(path)
        finally:
            draft.unlink()
        return pair


def is_empty(path: Path) -> bool:
    """Whether a file is there and has not one byte."""
    return path.exists() and path.stat().st_size == 0


def read_public_key(path: Path) -> bytes:
    """Read only the public key of a pair, or of a file that holds nothing else."""
    found = dict(_LINE.findall(_read(path, secret=False)))
    if "public" not in found:
        raise BadKey(f"key file {path}: no line 'public-key = …' in it")
    return bytes(found["public"], "ascii")


def _read(path: Path, *, secret: bool) -> str:
    try:
        found = path.stat()
        mode = stat.S_IMODE(found.st_mode)
        # What another user made and gave to this one's group, as Kubernetes mounts a Secret, can't be narrowed here.
        tolerated = 0o040 if found.st_uid != os.geteuid() else 0
        if secret and mode & 0o077 & ~tolerated:
            raise BadKey(f"key file {path}: mode {mode:04o} lets others read it; run: chmod 600 {path}")
        return path.read_text()
    except OSError as error:
        raise BadKey(f"key file {path}: {error.strerror}; make keys with 'blockyard keys issue'") from error
