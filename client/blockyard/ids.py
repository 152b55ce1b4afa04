"""Identifiers that cross process borders, and how they are put together.

A task's identifier is made by the client that submits it, without asking anybody: the upper half is the client's
session, the lower half counts that session's tasks. It is therefore known before the first byte is sent, stays the
same when a frame is sent again after a crash, and sorts by submission within a session.
"""

from hashlib import blake2b
from typing import NewType

TaskId = NewType("TaskId", int)
"""63 bits: ``session << 32 | number``."""

SessionId = NewType("SessionId", int)
"""31 bits, drawn at random by the client, refused by the interchange when taken."""

FunctionId = NewType("FunctionId", bytes)
"""16 bytes: BLAKE2b of the pickled function."""

ManagerId = NewType("ManagerId", str)
"""A fresh random name per manager process; never a pod's name, which can come again."""

BlockId = NewType("BlockId", str)

NUMBER_BITS = 32
MAX_SESSION = 2**31 - 1
MAX_NUMBER = 2**NUMBER_BITS - 1
_MIRROR = MAX_SESSION + 1


def task_id(session: SessionId, number: int) -> TaskId:
    """Join a session (0..2^31-1) and a number within it (0..2^32-1)."""
    return TaskId(session << NUMBER_BITS | number)


def hosted_session(run: str) -> SessionId:
    """The session that a run hosted by the interchange itself is numbered in: everybody knows it by the run's name."""
    drawn = int.from_bytes(blake2b(run.encode(), digest_size=4).digest(), "big")
    return SessionId(drawn % MAX_SESSION + 1)


def inner_session(session: SessionId) -> SessionId:
    """The session in which tasks are numbered that `join` makes for this one: its own, mirrored beyond 2^31."""
    return SessionId(session | _MIRROR)


def outer_session(session: SessionId) -> SessionId:
    """The other way round; one that is no inner session stays itself."""
    return SessionId(session & ~_MIRROR)


def session_of(task: TaskId) -> SessionId:
    """The session that made this task."""
    return SessionId(task >> NUMBER_BITS)


def number_of(task: TaskId) -> int:
    """The task's number within its session."""
    number: int = task & MAX_NUMBER
    return number


def task_name(task: TaskId) -> str:
    """A task as people write it: ``session-number`` in hexadecimal and decimal, for example ``1f3a-42``."""
    return f"{task >> NUMBER_BITS:x}-{task & MAX_NUMBER}"  # which whoever shows tasks does for each


def parse_task_name(text: str) -> TaskId:
    """Read what `task_name` wrote.

    Raises ValueError naming the text when it is not of that form.
    """
    session, dash, number = text.partition("-")
    try:
        task = task_id(SessionId(int(session, 16)), int(number))
    except ValueError:
        task = TaskId(-1)
    if not dash or not 0 <= task < 1 << 64 or task_name(task) != text:
        raise ValueError(f"not a task: {text!r}; a task is written session-number, for example '1f3a-42'")
    return task
