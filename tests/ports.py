"""Ports of loopback for servers that have to be told where to listen.

A port that was free when it was looked at may be taken before its server is there: by another test that looked at the
same moment, or by the kernel for an outgoing connection. So these are locked for the life of this process, and lie
below those that the kernel gives (ip(7), ip_local_port_range).
"""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final

_RANGE: Final = range(12_000, 20_000)
_held: Final[list[int]] = []
"""Descriptors of locked files; a port is nobody else's until this process ends."""


def free_port() -> int:
    """One for TCP and UDP."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of so many in a row, for TCP and UDP."""
    for _ in range(1000):
        first = random.randrange(_RANGE.start, _RANGE.stop - count)
        if _take(range(first, first + count)):
            return first
    raise AssertionError(f"no {count} free ports in a row between {_RANGE.start} and {_RANGE.stop}")


def _take(ports: range) -> bool:
    folder = Path(tempfile.gettempdir()) / f"blockyard-test-ports-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as stack:
        locks = []
        for port in ports:
            lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, lock)
            locks.append(lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(socket.AF_INET, kind) as probe:
                        probe.bind(("0.0.0.0", port))
            except OSError:
                return False
        stack.pop_all()
        _held.extend(locks)
    return True
