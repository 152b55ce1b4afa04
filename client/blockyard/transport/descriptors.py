"""How many connections a process that listens may have: each is a descriptor, and shells allow 1024 at first."""

import contextlib
import resource


def allow_all() -> None:
    """Raise this process's limit of open files to what the system allows it, for itself and what it starts.

    A listener without descriptors accepts nobody more, or is ended by libzmq: `Too many open files`, SIGABRT.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # the kernel's own limit may be lower than this one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
