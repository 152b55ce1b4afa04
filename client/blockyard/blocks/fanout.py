"""Starts copies of a command on this machine, one for each node of a block: `python -m … fanout N PROGRAM [ARG…]`.

Each copy finds its place, from 0, in `BLOCKYARD_NODE_INDEX`. The copies are one block, so they end together: when one
ends badly the others are asked to end (SIGTERM), and killed when they do not within `GRACE` seconds. The exit code is
the first one that is not 0, as a shell reports it (128 + signal). SIGTERM and SIGINT are passed on to all. The copies
die with this process, and this process with its parent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from blockyard.blocks import deathsig

GRACE = 10.0
"""Seconds between asking the remaining copies and killing them; a manager hands back its tries in less."""

NODE_INDEX = "BLOCKYARD_NODE_INDEX"


def main(arguments: list[str]) -> int:
    """Run the copies to their end; return the exit code of the whole."""
    count, command = int(arguments[0]), arguments[1:]
    copies: dict[int, subprocess.Popen[bytes]] = {}

    def pass_on(signum: int, frame: FrameType | None) -> None:
        for copy in list(copies.values()):
            copy.send_signal(signum)

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, pass_on)
    binder = [sys.executable, "-I", "-S", str(Path(deathsig.__file__)), str(os.getpid())]
    for index in range(count):
        copy = subprocess.Popen([*binder, *command], env={**os.environ, NODE_INDEX: str(index)})
        copies[copy.pid] = copy
    return _wait(copies)


def _wait(copies: dict[int, subprocess.Popen[bytes]]) -> int:
    result = 0
    while copies:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        if ended is None or ended.si_pid not in copies:
            continue
        code = copies.pop(ended.si_pid).wait()
        if code != 0 and result == 0:
            result = code if code > 0 else 128 - code
            _end(copies)
    return result


def _end(copies: dict[int, subprocess.Popen[bytes]]) -> None:
    for copy in copies.values():
        copy.terminate()
    deadline = time.monotonic() + GRACE
    for copy in copies.values():
        try:
            copy.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            copy.kill()
            copy.wait()
    copies.clear()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
