"""The exit codes, and which error leads to which. `docs/cli.md` lists them, which a test checks."""

from enum import IntEnum
from typing import Final

from blockyard.errors import BadKey, BlockyardError, BrokenBlockyard, ConfigError, NotInstalled
from blockyard.kube.faults import ApiError, ApiUnreachable, NoCluster
from blockyard.pidfile import SystemInUse


class Exit(IntEnum):
    """What a script may decide by."""

    DONE = 0
    FOUND_FAULTS = 1
    USAGE = 2
    NO_ANSWER = 3
    NOT_FOUND = 4
    REFUSED = 5
    NOT_INSTALLED = 6
    BUG = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


MEANINGS: Final = {
    Exit.DONE: "done; what was asked about is in order",
    Exit.FOUND_FAULTS: "bad news: a damaged journal, environments that differ, a system that did not come up",
    Exit.USAGE: "wrong usage, or wrong settings",
    Exit.NO_ANSWER: "no interchange answers: it is not running, or does not know this key",
    Exit.NOT_FOUND: "no such task, run, block, pool, key or system",
    Exit.REFUSED: "refused: in use by another process, or a key that is not fit",
    Exit.NOT_INSTALLED: "an optional part is not installed; the message has the pip line",
    Exit.BUG: "an unexpected error, which is a fault of Blockyard's; BLOCKYARD_DEBUG=1 shows where",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
    Exit.PIPE_CLOSED: "the reader of the output went away",
    Exit.TERMINATED: "ended by SIGTERM",
}


class NotFound(BlockyardError, LookupError):
    """What was named does not exist. The message lists what does, or where to look."""


class Faulty(BlockyardError):
    """What was looked at is not in order; the output says how."""


def exit_of(error: BlockyardError) -> Exit:
    """The exit code for an error."""
    match error:
        case NotFound():
            return Exit.NOT_FOUND
        case NotInstalled():
            return Exit.NOT_INSTALLED
        case Faulty():
            return Exit.FOUND_FAULTS
        case ApiError(not_found=True):
            return Exit.NOT_FOUND
        case ConfigError() | NoCluster():
            return Exit.USAGE
        case BrokenBlockyard() | ApiUnreachable():
            return Exit.NO_ANSWER
        case ApiError() | BadKey() | SystemInUse():
            return Exit.REFUSED
        case _:
            return Exit.FOUND_FAULTS
