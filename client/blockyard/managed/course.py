"""How a managed task goes on: what was heard, seen and asked, and what follows. Pure: `now` comes in, effects go out.

A result is not an exit. The task's own word (`TASK_RESULT`, `TASK_FAILED` …) is kept as a claim; the state becomes
terminal when its main process has ended *and* everything it said was read, or the time for either is over. What comes
first counts: a task that is being ended because of its timeout stays TIMEDOUT whatever its exit code says.

Instants are seconds of one monotonic clock. Signals, pipes and processes are left to `executor` and `keeper`.
"""

import math
import signal as signals
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from blockyard.errors import BlockyardError, ConfigError
from blockyard.managed.signals import Signal
from blockyard.managed.states import TaskStatus, may_follow

NO_RESULT: Final = "NoResult"


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The times of a task, in seconds; 0: no limit, where a limit may be missing."""

    timeout: float = 0.0
    """From its start to its end, time that it was stopped included."""
    heartbeat: float = 0.0
    """Longest silence on the channel."""
    grace: float = 10.0
    """Between SIGTERM and SIGKILL."""
    exit_seconds: float = 30.0
    """Between its result, or its own word that it failed, and its exit."""
    drain_seconds: float = 5.0
    """Between its exit and the end of what it said."""
    needs_result: bool = False
    """An exit without a result is a failure."""

    def __post_init__(self) -> None:
        """Raises ConfigError for times that there are not."""
        for field in ("timeout", "heartbeat", "grace", "exit_seconds", "drain_seconds"):
            value = getattr(self, field)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value < math.inf:
                raise ConfigError(f"policy of a managed task: {field}={value!r}; give seconds, 0 or more")


class Exit(msgspec.Struct, frozen=True):
    """How the main process ended: by itself with a code, or by a signal."""

    code: int | None = None
    signal: int | None = None


class Effect(Enum):
    """What is to be done to all processes of the task."""

    TERMINATE = "terminate"
    KILL = "kill"
    STOP = "stop"
    CONTINUE = "continue"


class Request(Enum):
    """What somebody outside asks for."""

    STOP = "stop"
    CONTINUE = "continue"
    CANCEL = "cancel"


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task stands."""

    status: TaskStatus = TaskStatus.PENDING
    reason: str = ""
    """One CamelCase word."""
    message: str = ""
    verdict: TaskStatus | None = None
    """The terminal state that was decided while processes still end; `reason` and `message` belong to it."""
    claim: TaskStatus | None = None
    """What the task itself said that it came to."""
    exit: Exit | None = None
    drained: bool = False
    started_at: float = 0.0
    heard_at: float = 0.0
    spoke_at: float | None = None
    """When it claimed something."""
    exited_at: float | None = None
    terminated_at: float | None = None
    killed: bool = False
    to_stop: bool = False
    """It was asked to stop before it was heard to run, and stops then."""
    objection: str = ""
    """Why it failed after all, as another rank of MPI said behind a good result. It counts if the exit is bad."""
    refused: int = 0
    """Terminal states that came after the first."""


Step = tuple[Course, tuple[Effect, ...]]
_change = msgspec.structs.replace


def started(course: Course, now: float) -> Step:
    """Its main process runs."""
    if not may_follow(course.status, TaskStatus.RUNNING):
        return course, ()
    running = _change(course, status=TaskStatus.RUNNING, started_at=now, heard_at=now)
    return asked(running, Request.STOP, now) if course.to_stop else (running, ())


def heard(course: Course, signal: Signal, contents: Any, now: float) -> Step:
    """It said something."""
    course = _change(course, heard_at=now)
    match signal:
        case Signal.TASK_FAILED:
            return _claimed(course, TaskStatus.FAILED, "TaskFailed", _text(contents), now), ()
        case Signal.TASK_CANCELLED:
            return _claimed(course, TaskStatus.CANCELLED, "TaskCancelled", _text(contents), now), ()
        case Signal.TASK_DONE:
            return _claimed(course, TaskStatus.COMPLETED, "", "", now), ()
        case Signal.TASK_RESULT:
            status, message = _status_in(contents)
            return _claimed(course, status, "" if status is TaskStatus.COMPLETED else "TaskResult", message, now), ()
        case Signal.TASK_STOPPED if may_follow(course.status, TaskStatus.STOPPED):
            return _change(course, status=TaskStatus.STOPPED), ()
    return course, ()


def asked(course: Course, request: Request, now: float, why: str = "") -> Step:
    """Somebody asks something of it. What can't be done any more is not done."""
    if course.status.is_terminal or course.exit is not None:
        return course, ()
    match request:
        case Request.STOP | Request.CONTINUE if course.status is TaskStatus.PENDING:
            return _change(course, to_stop=request is Request.STOP), ()
        case Request.STOP if may_follow(course.status, TaskStatus.STOPPED):
            return _change(course, status=TaskStatus.STOPPED), (Effect.STOP,)
        case Request.CONTINUE if course.status is TaskStatus.STOPPED:
            return _change(course, status=TaskStatus.RUNNING, heard_at=now), (Effect.CONTINUE,)
        case Request.CANCEL:
            return _end(course, TaskStatus.CANCELLED, "Cancelled", why or "it was cancelled", now)
    return course, ()


def not_started(course: Course, reason: str, message: str) -> Course:
    """It never ran."""
    return _settled(_change(course, verdict=course.verdict or TaskStatus.FAILED, reason=reason, message=message))


def broke_off(course: Course, error: BaseException) -> Course:
    """A step of its executor raised this, so that nothing more of it is done."""
    reason, message = type(error).__name__, str(error)
    if isinstance(error, OSError) and not isinstance(error, BlockyardError):
        message = f"{error.filename}: {error.strerror}" if error.filename else message
        if course.status is TaskStatus.PENDING:
            return not_started(course, "NotStarted", f"{message}; nothing was run")
        reason = "OSError"
    return not_started(course, reason, message)


def skipped(course: Course, message: str) -> Course:
    """It is not to run, says what comes before it."""
    if course.status is not TaskStatus.PENDING:
        return not_started(course, "TaskSkipped", f"it runs already: {message}")
    if course.verdict is None:
        course = _change(course, verdict=TaskStatus.SKIPPED, reason="TaskSkipped", message=message)
    return _settled(course)


def exited(course: Course, exit_: Exit, now: float, policy: Policy) -> Course:
    """Its main process has ended."""
    return _judged(_change(course, exit=exit_, exited_at=now), policy)


def drained(course: Course, policy: Policy) -> Course:
    """All that it said and printed has been read."""
    return _judged(_change(course, drained=True), policy)


def lost(course: Course, message: str) -> Course:
    """What watched its processes is gone."""
    if course.status.is_terminal:
        return course
    return _settled(_change(course, verdict=TaskStatus.LOST, reason="KeeperLost", message=message))


def failed_after_all(course: Course, reason: str, message: str) -> Course:
    """A task that had completed has not: nothing of that was told or recorded yet. What ended otherwise stays so."""
    if course.status is not TaskStatus.COMPLETED:
        return course
    return _change(course, status=TaskStatus.FAILED, verdict=TaskStatus.FAILED, reason=reason, message=message)


def explained(course: Course, dropped: Sequence[tuple[int, str]]) -> Course:
    """Where a result is missing, say what was heard that was no message: it may be among that.

    `dropped`: of each channel with such lines how many they were, and the last one's fault.
    """
    if not dropped or course.reason != NO_RESULT:
        return course
    count, fault = sum(lines for lines, _ in dropped), dropped[-1][1]
    message = f"{course.message}; lines that it said and that are no message: {count}, the last one: {fault}"
    return _change(course, message=message)


def cut_off(course: Course, message: str) -> Course:
    """A task that had completed was cancelled before its outputs were seen; see `failed_after_all`."""
    if course.status is not TaskStatus.COMPLETED:
        return course
    status = TaskStatus.CANCELLED
    return _change(course, status=status, verdict=status, reason="Cancelled", message=message)


def last_word(status: TaskStatus, *, has_result: bool) -> Signal | None:
    """The event of an end. `has_result`: the task has said it by its result."""
    match status:
        case TaskStatus.COMPLETED if not has_result:
            return Signal.TASK_DONE
        case TaskStatus.FAILED:
            return Signal.TASK_FAILED
        case TaskStatus.CANCELLED:
            return Signal.TASK_CANCELLED
        case _:
            return None


def tick(course: Course, now: float, policy: Policy) -> Step:
    """Time has passed."""
    if course.status.is_terminal or course.status is TaskStatus.PENDING:
        return course, ()
    if course.exit is not None:
        if course.exited_at is not None and now >= course.exited_at + policy.drain_seconds:
            return drained(course, policy), ()
        return course, ()
    if course.terminated_at is not None:
        if not course.killed and now >= course.terminated_at + policy.grace:
            return _change(course, killed=True), (Effect.KILL,)
        return course, ()
    overdue = _overdue(course, now, policy)
    return _end(course, TaskStatus.TIMEDOUT, *overdue, now) if overdue else (course, ())


def due(course: Course, policy: Policy) -> float | None:
    """When `tick` may have something to say next; None: only when something happens."""
    if course.status.is_terminal or course.status is TaskStatus.PENDING:
        return None
    if course.exited_at is not None:
        return course.exited_at + policy.drain_seconds
    if course.terminated_at is not None:
        return None if course.killed else course.terminated_at + policy.grace
    limits = []
    if policy.timeout:
        limits.append(course.started_at + policy.timeout)
    if policy.heartbeat and course.status is TaskStatus.RUNNING:
        limits.append(course.heard_at + policy.heartbeat)
    if course.spoke_at is not None:
        limits.append(course.spoke_at + policy.exit_seconds)
    return min(limits, default=None)


def _overdue(course: Course, now: float, policy: Policy) -> tuple[str, str] | None:
    if policy.timeout and now >= course.started_at + policy.timeout:
        return "Timeout", f"it ran longer than {policy.timeout:g} s"
    if policy.heartbeat and course.status is TaskStatus.RUNNING and now >= course.heard_at + policy.heartbeat:
        return "NoHeartbeat", f"it said nothing for {policy.heartbeat:g} s"
    if course.spoke_at is not None and now >= course.spoke_at + policy.exit_seconds:
        return "NoExit", f"it did not end within {policy.exit_seconds:g} s of its result"
    return None


def _claimed(course: Course, status: TaskStatus, reason: str, message: str, now: float) -> Course:
    if course.claim is not None or course.verdict is not None:
        is_first = course.claim is TaskStatus.COMPLETED and status is TaskStatus.FAILED and not course.objection
        return _change(course, refused=course.refused + 1, objection=message if is_first else course.objection)
    return _change(course, claim=status, spoke_at=now, reason=reason, message=message)


def _end(course: Course, status: TaskStatus, reason: str, message: str, now: float) -> Step:
    if course.verdict is not None:
        return _change(course, refused=course.refused + 1), ()
    ending = _change(course, verdict=status, reason=reason, message=message, terminated_at=now)
    return ending, (Effect.TERMINATE,)


def _judged(course: Course, policy: Policy) -> Course:
    """Terminal, if all is known that it takes."""
    if course.exit is None or not course.drained or course.status.is_terminal:
        return course
    if course.verdict is not None:
        return _settled(course)
    code, number = course.exit.code, course.exit.signal
    if course.claim not in (None, TaskStatus.COMPLETED):
        return _settled(_change(course, verdict=course.claim))
    if number is not None:
        return _settled(_change(course, verdict=TaskStatus.FAILED, reason=_name(number), message=f"signal {number}"))
    if code:
        message = f"exit code {code}{course.objection and ': '}{course.objection}"
        return _settled(_change(course, verdict=TaskStatus.FAILED, reason="ExitCode", message=message))
    if policy.needs_result and course.claim is None:
        message = "it ended with exit code 0 and without a result"
        return _settled(_change(course, verdict=TaskStatus.FAILED, reason=NO_RESULT, message=message))
    return _settled(_change(course, verdict=TaskStatus.COMPLETED))


def _settled(course: Course) -> Course:
    verdict = course.verdict
    assert verdict is not None
    status = course.status
    if not may_follow(status, verdict):
        return _change(course, refused=course.refused + 1)
    return _change(course, status=verdict)


def _name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"Signal{number}"


def _text(contents: Any) -> str:
    if isinstance(contents, dict):
        contents = contents.get("message", contents)
    return "" if contents is None else str(contents)


def _status_in(contents: Any) -> tuple[TaskStatus, str]:
    """What a result says of itself, and that in words; a result without a word about it is a good one."""
    name = contents.get("status") if isinstance(contents, dict) else None
    claims = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED)
    if name is None or name == TaskStatus.COMPLETED.name:
        return TaskStatus.COMPLETED, ""
    found = next((one for one in claims if one.name == name), None)
    if found is None:
        return TaskStatus.FAILED, f"its result has status {name!r}, which is none of COMPLETED, FAILED and CANCELLED"
    return found, f"its result says {name}"
