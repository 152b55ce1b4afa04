"""What a channel learns about a program, and how the end of one reads as the status of a block.

Pure: events and the reason why we ended it, if we did, come in; a `JobStatus` goes out. Looking, waiting and reading
logs is left to channels and providers.
"""

from __future__ import annotations

import signal
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from blockyard.blocks.states import JobState, JobStatus


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The program runs, as process `pid` on `node`, since `at` (UTC epoch seconds, like every `at` here)."""

    pid: int
    node: str
    at: float


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """The program ended by itself."""

    code: int
    at: float
    strays: int = 0
    """Processes of the block that outlived the program and were ended after it."""


class Signalled(msgspec.Struct, frozen=True, tag="signalled"):
    """The program was ended by a signal."""

    signum: int
    at: float
    strays: int = 0


class NotStarted(msgspec.Struct, frozen=True, tag="not-started"):
    """The program never ran. `reason` is one CamelCase word."""

    reason: str
    detail: str
    at: float


class LinkLost(msgspec.Struct, frozen=True, tag="link-lost"):
    """The channel can no longer see the program and will not see it again; it may still run for a while."""

    detail: str
    at: float


Ended: TypeAlias = Exited | Signalled | NotStarted | LinkLost
ChannelEvent: TypeAlias = Started | Ended


class AskedToEnd(StrEnum):
    """Why we ended a program ourselves."""

    CANCEL = "cancel"
    WALLTIME = "walltime"


SIGNAL_HINTS: Final = {
    signal.SIGKILL: "by hand, by a supervisor, or by the kernel when memory ran out (see `dmesg`)",
    signal.SIGSEGV: "a memory fault in native code",
    signal.SIGBUS: "a memory fault; a full /dev/shm looks like this",
    signal.SIGABRT: "the program aborted itself",
    signal.SIGILL: "native code built for another processor",
    signal.SIGTERM: "somebody asked it to end",
    signal.SIGINT: "somebody interrupted it",
    signal.SIGHUP: "its terminal or session went away",
}

CODE_HINTS: Final = {
    126: "found but not executable",
    127: "program not found",
    130: "interrupted",
    137: "a child was killed, perhaps because memory ran out",
    139: "a child had a memory fault",
    143: "a child was asked to end",
}


def status_of(event: ChannelEvent, asked: AskedToEnd | None, log_tail: str = "") -> JobStatus:
    """Read `event` as the status of its block. `asked`: why we were ending it ourselves, or None."""
    match event:
        case Started(pid=pid, node=node, at=at):
            return JobStatus(
                state=JobState.RUNNING, reason="Started", message=f"process {pid}", started_at=at, node=node
            )
        case NotStarted(reason=reason, detail=detail, at=at):
            state = JobState.CANCELLED if asked is AskedToEnd.CANCEL else JobState.FAILED
            return JobStatus(state=state, reason=reason, message=detail, ended_at=at, log_tail=log_tail)
        case LinkLost(detail=detail, at=at):
            return JobStatus(state=JobState.MISSING, reason="LinkLost", message=detail, ended_at=at, log_tail=log_tail)
        case Exited() | Signalled():
            return _own_doing(_own_end(event, log_tail, hint=asked is None), asked)


def _own_end(event: Exited | Signalled, log_tail: str, *, hint: bool) -> JobStatus:
    """Read an end as if nobody had asked for it. `hint`: whether to guess at who or what did it."""
    if isinstance(event, Exited):
        state, reason, message = _read_code(event.code, hint=hint)
        return JobStatus(
            state=state,
            reason=reason,
            message=message + _strays(event.strays),
            exit_code=event.code,
            ended_at=event.at,
            log_tail=log_tail,
        )
    return JobStatus(
        state=JobState.FAILED,
        reason=signal_name(event.signum),
        message=_read_signal(event.signum, hint=hint) + _strays(event.strays),
        signal=event.signum,
        ended_at=event.at,
        log_tail=log_tail,
    )


def signal_name(signum: int) -> str:
    """Return a signal's name, or `Signal70` for one without."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"Signal{signum}"


def _read_code(code: int, *, hint: bool) -> tuple[JobState, str, str]:
    if code == 0:
        return JobState.COMPLETED, "Completed", "exit code 0"
    guess = CODE_HINTS.get(code) if hint else None
    return JobState.FAILED, "ExitCode", f"exit code {code}" + (f": {guess}" if guess else "")


def _read_signal(signum: int, *, hint: bool) -> str:
    guess = next((text for known, text in SIGNAL_HINTS.items() if known == signum), "") if hint else ""
    return f"killed by {signal_name(signum)} ({signum})" + (f": {guess}" if guess else "")


def _strays(count: int) -> str:
    return f"; ended {count} of its processes that outlived it" if count else ""


def _own_doing(status: JobStatus, asked: AskedToEnd | None) -> JobStatus:
    match asked:
        case None:
            return status
        case AskedToEnd.CANCEL:
            return msgspec.structs.replace(
                status, state=JobState.CANCELLED, reason="Cancelled", message=f"ended on request: {status.message}"
            )
        case AskedToEnd.WALLTIME:
            return msgspec.structs.replace(
                status, state=JobState.TIMEOUT, reason="Walltime", message=f"reached its walltime: {status.message}"
            )
