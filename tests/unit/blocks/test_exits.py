"""How the end of a program reads as the status of its block."""

import signal

import pytest

from blockyard.blocks.exits import (
    AskedToEnd,
    ChannelEvent,
    Exited,
    LinkLost,
    NotStarted,
    Signalled,
    Started,
    signal_name,
    status_of,
)
from blockyard.blocks.states import JobState


@pytest.mark.parametrize(
    "event, asked, state, reason",
    [
        (Started(pid=7, node="n1", at=1.0), None, JobState.RUNNING, "Started"),
        (Exited(code=0, at=1.0), None, JobState.COMPLETED, "Completed"),
        (Exited(code=3, at=1.0), None, JobState.FAILED, "ExitCode"),
        (Signalled(signum=9, at=1.0), None, JobState.FAILED, "SIGKILL"),
        (Signalled(signum=70, at=1.0), None, JobState.FAILED, "Signal70"),
        (Exited(code=0, at=1.0), AskedToEnd.CANCEL, JobState.CANCELLED, "Cancelled"),
        (Signalled(signum=15, at=1.0), AskedToEnd.CANCEL, JobState.CANCELLED, "Cancelled"),
        (Signalled(signum=9, at=1.0), AskedToEnd.WALLTIME, JobState.TIMEOUT, "Walltime"),
        (Exited(code=0, at=1.0), AskedToEnd.WALLTIME, JobState.TIMEOUT, "Walltime"),
        (NotStarted(reason="SpawnFailed", detail="no memory", at=1.0), None, JobState.FAILED, "SpawnFailed"),
        (NotStarted(reason="Any", detail="", at=1.0), AskedToEnd.CANCEL, JobState.CANCELLED, "Any"),
        (LinkLost(detail="cut", at=1.0), None, JobState.MISSING, "LinkLost"),
        (LinkLost(detail="cut", at=1.0), AskedToEnd.CANCEL, JobState.MISSING, "LinkLost"),
    ],
)
def test_an_event_reads_as_a_state_with_a_reason(
    event: ChannelEvent, asked: AskedToEnd | None, state: JobState, reason: str
) -> None:
    status = status_of(event, asked, "the tail")
    assert (status.state, status.reason) == (state, reason)
    if status.terminal:
        assert (status.ended_at, status.log_tail) == (1.0, "the tail")


def test_codes_and_signals_are_kept_and_explained() -> None:
    code = status_of(Exited(code=127, at=1.0), None)
    assert (code.exit_code, code.message) == (127, "exit code 127: program not found")
    fault = status_of(Signalled(signum=signal.SIGSEGV, at=1.0), None)
    assert (fault.signal, fault.message) == (11, "killed by SIGSEGV (11): a memory fault in native code")


def test_our_own_doing_is_not_guessed_at() -> None:
    status = status_of(Signalled(signum=9, at=1.0), AskedToEnd.CANCEL)
    assert status.message == "ended on request: killed by SIGKILL (9)"


def test_strays_are_counted() -> None:
    assert "ended 2 of its processes" in status_of(Exited(code=0, at=1.0, strays=2), None).message


def test_signals_have_names() -> None:
    assert [signal_name(number) for number in (1, 15, 200)] == ["SIGHUP", "SIGTERM", "Signal200"]
