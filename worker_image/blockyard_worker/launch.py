"""Starts a template: a program of its own, with a socket to this process as its only tie.

A manager does this before anything else, while it knows hardly more than its block, so that both import at the same
time. Hence nothing is imported here that is not small.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from blockyard_worker import strays

BLOCK_SETTING = "BLOCKYARD_WORKER_BLOCK"
START_SETTING = "BLOCKYARD_WORKER_START"
"""Set by `start`: the file by which an interpreter finds this package when the package is not installed."""
_PRIVATE = "BLOCKYARD_WORKER_"
"""Settings of the manager; none of a task's business."""


class Launched(NamedTuple):
    """A template that was started."""

    pid: int
    link: socket.socket
    """SOCK_SEQPACKET, not blocking; what is said over it is in `births`."""


def marks(block: str) -> dict[str, str]:
    """The marks in the environment of all processes below this manager, see `strays`."""
    return {strays.BLOCK_VARIABLE: block, strays.MANAGER_VARIABLE: strays.manager_mark(os.getpid())}


def named_block(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """The block as flags or environment name it, in the precedence of `settings`; '' when only a file may."""
    for index, word in enumerate(argv):
        if word.startswith("--block="):
            return word.removeprefix("--block=")
        if word == "--block" and index + 1 < len(argv):
            return argv[index + 1]
    return environment.get(BLOCK_SETTING, "")


def launch(block: str) -> Launched:
    """Start a template for a manager of this block, which is this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)  # noqa: FBT003 - that is its signature
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    start = [os.environ[START_SETTING]] if START_SETTING in os.environ else []
    with theirs:
        theirs.set_inheritable(True)
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *start, "-m", "blockyard_worker.template", str(theirs.fileno())],
            {**environment, **marks(block)},
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        )
    return Launched(pid, ours)
