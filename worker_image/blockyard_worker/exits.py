"""How a manager may end, as exit codes; ``docs/worker.md`` lists them for people."""

import enum


class ExitCode(enum.IntEnum):
    """1 is Python's own, for an error that nobody foresaw."""

    LEFT = 0
    """It was drained or terminated, and handed everything back."""
    CONFIG = 2
    """Its settings are wrong."""
    UNFIT = 3
    """No worker could be started: a module to preload or `worker_init` fails."""
    REFUSED = 4
    """The interchange does not want it, for example another version of Python."""
    KEY = 5
    """Its key file is absent, open to others, or holds no key."""
    ORPHAN = 6
    """Its supervisor is gone."""
    NOT_FOR_THIS_PYTHON = 64
    """Said by `start`: nothing was built for this image's Python, or the image has packages that are too old."""
