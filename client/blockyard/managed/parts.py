"""The parts of a wide MPI task: which one this is, how they find and what they say to one another, words for mpirun."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import sys
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from blockyard import this_try
from blockyard.errors import ConfigError
from blockyard.managed import agent
from blockyard.managed.agent import NAME
from blockyard.transport import KeyPair
from blockyard.wire.records import Part

SECRET_BYTES: Final = 32
_PORTS: Final = 8
_FIRST_PORT: Final = 20_000
"""Below those that Linux gives to whoever asks for any (32768), and a cluster to its Services (30000)."""
_PORT_RANGE: Final = 10_000


def place() -> Part | None:
    """That of the task which this worker runs; None when it is not wide.

    Raises ConfigError in what a wide task has started: there nobody knows by what its parts know one another.
    """
    part = this_try.around.part() if this_try.around is not None else None
    if part is None and int(os.environ.get("BLOCKYARD_PARTS", "1")) > 1:
        raise ConfigError("MPI over several managers: run it in the task itself, not in a process that it has started")
    return part if part is not None and part.count > 1 else None


def address_of(host: str) -> str:
    """The IPv4 address of the first part. Raises ConfigError when the name leads nowhere."""
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        if host == socket.gethostname():
            return "127.0.0.1"  # this very machine, which cannot look up its own name
        raise ConfigError(
            f"MPI over several managers: the first one's address is {host!r}: {error}; set BLOCKYARD_WORKER_ADDRESS of "
            f"the managers to one that leads there"
        ) from error


class Meeting(msgspec.Struct, frozen=True):
    """What the parts of one try make of their secret, each for itself: whom to trust, and where to look for the first.

    Nobody can say beforehand which port is free, so there are some: the first part listens on the first that is.
    """

    leader: KeyPair
    """Of the first part."""
    member: KeyPair
    """Of all others."""
    ports: tuple[int, ...]

    @classmethod
    def of(cls, secret: bytes) -> Meeting:
        """Raises ConfigError for what is no secret: the interchange or the manager is of an older version."""
        if len(secret) != SECRET_BYTES:
            raise ConfigError(
                f"MPI over several managers: the try came with a secret of {len(secret)} bytes in the place of "
                f"{SECRET_BYTES}; bring the interchange and the workers to one version"
            )
        drawn = hashlib.blake2b(secret, person=b"ports", digest_size=2 * _PORTS).digest()
        ports = (_FIRST_PORT + one % _PORT_RANGE for one in struct.unpack(f">{_PORTS}H", drawn))
        return cls(KeyPair.derive(secret, "leader"), KeyPair.derive(secret, "member"), tuple(ports))

    @property
    def key(self) -> str:
        """What a member proves itself by, and knows the first part by; for `Link`."""
        return f"{self.leader.public.decode()},{self.member.secret.decode()}"


def mpirun_words(ranks: Mapping[int, int], variables: Iterable[str]) -> list[str]:
    """For these ranks by part, each of which shall have these variables of mpirun's own environment. Pure.

    Daemons stay what was started, and are all started by the first part.
    """
    parts = ",".join(f"{NAME % part}:{count}" for part, count in sorted(ranks.items()) if count)
    settings = {
        "plm": "rsh",
        "plm_rsh_agent": f"{sys.executable} -S -E {agent.__file__}",
        "plm_rsh_no_tree_spawn": "1",
        "orte_leave_session_attached": "1",
    }
    return [
        *(word for name, value in settings.items() for word in ("--mca", name, value)),
        "--noprefix",  # or it would set variables by a shell, in front of the daemon's name
        *("--host", parts, "-np", str(sum(ranks.values())), "--bind-to", "none"),
        *(word for name in variables for word in ("-x", name)),
    ]


class ToLeader(msgspec.Struct, frozen=True):
    """A part is there with so many ranks, or its daemon has ended."""

    part: int
    ranks: int = 0
    code: int | None = None


class ToMember(msgspec.Struct, frozen=True):
    """`welcome`, then `start` with words, then perhaps `end`: end what was started, or wait no longer for it."""

    what: str
    words: list[str] = []
    directory: str = ""
    """With `start`: where the first part works, and so shall all ranks."""


class Asked(msgspec.Struct, frozen=True):
    """What an agent wants started where."""

    part: int
    words: list[str]
