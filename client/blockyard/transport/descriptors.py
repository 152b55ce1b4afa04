"""How many connections a process that listens may have: each is a descriptor, and shells allow 1024 at first."""

import contextlib
import fcntl
import os
import resource
from typing import Final

_LEAST_RESERVE: Final = 64
_MOST_RESERVE: Final = 1024


def allow_all() -> None:
    """Raise this process's limit of open files to what the system allows it, for itself and what it starts.

    A listener without descriptors accepts nobody more by TCP. On a Unix socket libzmq ends the process: `Too many open
    files`, SIGABRT; see `shortage`.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # the kernel's own limit may be lower than this one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def shortage() -> str:
    """How many files are open and how many may be, in words, when hardly any more may be; '' otherwise.

    "Hardly any" is an eighth, within bounds: as many connections may come before this is asked again.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_reserved = allowed - min(max(allowed // 8, _LEAST_RESERVE), _MOST_RESERVE)
    # The kernel gives out the lowest that is free. So if this one is, there never was a shortage; and to count them all
    # takes as long as there are many.
    try:
        probe = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, max(0, first_reserved))
        os.close(probe)
        if probe == first_reserved:
            return ""
        in_use = len(os.listdir("/proc/self/fd"))
    except OSError:
        in_use = allowed
    return f"{in_use} of {allowed} files are open" if in_use >= first_reserved else ""
