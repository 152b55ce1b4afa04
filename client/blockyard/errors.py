"""The errors of clients and tasks, each with what it means and what to do; other rooms have theirs, below this base.

The classes carry a message and, where a program may want to decide by it, fields. They hold no logic about *when*
they are raised; that belongs to the modules that raise them. All of them survive pickling, because a task may itself
use Blockyard and fail with one of them.
"""

from __future__ import annotations

import copy
from concurrent.futures import BrokenExecutor
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def anew(error: E) -> E:
    """The same error to be raised once: one that is raised again and again collects the traceback of each time."""
    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    return fresh


class BlockyardError(Exception):
    """Base of all errors of Blockyard; catch it to catch every one of them."""

    @property
    def retry_names(self) -> tuple[str, ...]:
        """Words beside its class that `retry_on` knows it by."""
        return ()


# --- the caller's side: something asked for cannot be done -----------------------------------------------------------


class ConfigError(BlockyardError, ValueError):
    """A setting is unknown, has the wrong type, or contradicts another. Correct it where it was found."""


class NotInstalled(ConfigError):
    """An optional part is missing. Install it with the pip line of the message."""


class NotSendable(BlockyardError, TypeError):
    """An argument, function or result cannot be pickled. Send what it was made from (a path, a URL, data) instead.

    `path` names the culprit inside the object, for example ``argument 1 → ['model'] → .lock``; empty when unknown.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message, path)
        self.path = path

    def __str__(self) -> str:
        return str(self.args[0])


class NotLoadable(BlockyardError):
    """What arrived cannot be unpickled here: a module is absent or of another version, or the bytes are damaged.

    Make the environments of client and workers alike (`blockyard doctor` compares them) and submit again. The original
    error is the `__cause__`.
    """


class UnknownPool(BlockyardError, LookupError):
    """The pool named in the options does not exist. Use one of the pools that the message lists."""


class RequestTooLarge(BlockyardError, ValueError):
    """No manager of the pool could ever meet the request (cores, memory, accelerators, nodes) or hold the payload.

    Ask for at most what the message names as the largest that fits, or use another pool.
    """


class QueueFull(BlockyardError):
    """A limit (`max_tasks`, `max_bytes`, `max_disk`) is reached and ``on_full="raise"`` was asked for.

    Collect or cancel tasks, raise the limit, or let `submit` wait with ``on_full="wait"``.
    """


class BlobsFull(QueueFull):
    """The folder for large payloads of this machine has reached its quota. Free results, or raise the quota."""


# --- how a task may end, apart from its own result or exception ------------------------------------------------------


class RemoteTraceback(Exception):
    """The traceback of an exception as it was on the worker, as text; set as `__cause__` of the exception here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(BlockyardError):
    """A task raised an exception that could not be sent as an object; its type, text and traceback came as strings.

    To catch the original type, make it picklable: give it a `__reduce__`, or pass all arguments to `super().__init__`.
    """

    def __init__(self, type_name: str, message: str, traceback: str, reason: str = "") -> None:
        super().__init__(type_name, message, traceback, reason)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback
        self.reason = reason

    def __str__(self) -> str:
        shown = f"{self.type_name}: {self.message}" if self.message else self.type_name
        return f"{shown} ({self.reason})" if self.reason else shown


class DependencyError(BlockyardError):
    """A task was not run because one that it depends on failed. The message names the first cause in the chain.

    `task` is the id of the task that failed first, `cause_type` the qualified type name of its exception.
    """

    def __init__(self, message: str, task: int | None = None, cause_type: str = "") -> None:
        super().__init__(message, task, cause_type)
        self.task = task
        self.cause_type = cause_type

    def __str__(self) -> str:
        return str(self.args[0])


class TaskLost(BlockyardError):
    """The worker of a task was lost and the task may not run again; the message holds the evidence.

    With ``idempotent=False`` a try that may have started is never repeated: check by hand how far it came. Otherwise it
    has killed its workers as often as the pool tolerates: run it alone and look at its memory and native code.
    """


class OutOfMemory(TaskLost):
    """The try used more memory than its limit and was ended. Ask for more with ``options(memory=…)``, or use less.

    `peak_bytes` and `limit_bytes` are what was seen and what was allowed; 0 when unknown.
    """

    def __init__(self, message: str, peak_bytes: int = 0, limit_bytes: int = 0) -> None:
        super().__init__(message, peak_bytes, limit_bytes)
        self.peak_bytes = peak_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return str(self.args[0])


class Cancelled(BaseException):
    """Raised in a running task that is to end: it was cancelled, or its time is over. Clean up and let it pass.

    No `Exception`, so that a task that catches those does not swallow it. What does not end within the grace is killed.
    """


class TaskTimeout(BlockyardError):
    """The task ran longer than ``options(timeout=…)`` and was ended. Allow more time, or split it.

    Not a `TimeoutError` on purpose: that is what `future.result(timeout)` raises while the task still runs.
    """


class NotCacheable(BlockyardError, TypeError):
    """With ``options(cache=True)``: something in a call is not known by its content, so its result could not be found.

    `path` leads to it. Register its type, leave it out, or do not cache the call.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class DeadlineExceeded(BlockyardError):
    """The task was not finished within ``options(deadline=…)`` of its submission. Allow more time, or more blocks."""


class StagingError(BlockyardError):
    """A file of a task could not be brought to its node, or taken from it. The message says which, what was found, and
    what to do; `url` is its address without its secrets.
    """

    def __init__(self, message: str, url: str = "") -> None:
        super().__init__(message, url)
        self.url = url

    def __str__(self) -> str:
        return str(self.args[0])


class RunTakenOver(BlockyardError):
    """Another client attached to this run with ``take_over=True``; this one is no longer its owner.

    The results go to the new owner. Attach again with ``take_over=True`` only if that one is really gone.
    """


# --- the world's side: a part is broken, absent, or does not match ---------------------------------------------------


class BrokenBlockyard(BlockyardError, BrokenExecutor):
    """The client cannot go on: interchange gone for good, pool failed, or used after a fork. Open a new client."""


class PoolFailed(BrokenBlockyard):
    """A pool was given up, because its blocks fail: all its futures fail with this, and so do later submits.

    Mend what the message names (image, environment, limits) and submit again; a local pool is to be opened again first.
    """


class VersionMismatch(BlockyardError):
    """Two parts differ in Python's minor version or in the protocol. Install the same on both, as the message says."""


class BlobMissing(BlockyardError, LookupError):
    """A large payload is no longer in the folder that it was passed through: freed too early, or removed by hand."""


class BadFrame(BlockyardError, ValueError):
    """A peer sent bytes that are no message of the protocol. They are dropped and counted; see the peer's version."""


class BadKey(BlockyardError):
    """A key file is absent, readable by others, or not a key. The message names the file and the command to run."""
