"""The parts of a wide MPI task: which one this is, what they say to one another, and the words for mpirun."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from blockyard import this_try
from blockyard.managed import agent
from blockyard.managed.agent import NAME


class Place(msgspec.Struct, frozen=True):
    """One part of a wide task."""

    index: int
    count: int
    ranks: int
    """Of this part."""
    attempt: str = ""
    """Of the try, the same for all its parts and no others."""

    def rendezvous(self, folder: str) -> Path:
        """The private file."""
        return Path(folder, f"mpi-parts{self.attempt}.json")


def place() -> Place | None:
    """That of this process; None when its task is not wide."""
    count = int(os.environ.get("BLOCKYARD_PARTS", "1"))
    if count < 2:
        return None
    lease = this_try.around.lease() if this_try.around is not None else None
    attempt = f"-{lease.task}-{lease.epoch}" if lease is not None else ""
    return Place(int(os.environ["BLOCKYARD_PART"]), count, int(os.environ["BLOCKYARD_RANKS"]), attempt)


def own_address() -> str:
    """This machine's, by its name."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def mpirun_words(ranks: Mapping[int, int], variables: Iterable[str]) -> list[str]:
    """For these ranks by part, each of which shall have these variables of mpirun's own environment. Pure.

    Daemons stay what was started, and are all started by the first part.
    """
    parts = ",".join(f"{NAME % part}:{count}" for part, count in sorted(ranks.items()))
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


class Rendezvous(msgspec.Struct, frozen=True):
    """What the private file holds."""

    endpoint: str
    key: str


class ToLeader(msgspec.Struct, frozen=True):
    """A part is there with so many ranks, or its daemon has ended."""

    part: int
    ranks: int = 0
    code: int | None = None


class ToMember(msgspec.Struct, frozen=True):
    """`welcome`, then `start` with words, then perhaps `end`: end what was started, or wait no longer for it."""

    what: str
    words: list[str] = []


class Asked(msgspec.Struct, frozen=True):
    """What an agent wants started where."""

    part: int
    words: list[str]
