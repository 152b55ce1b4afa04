"""How a managed task goes on, in virtual time. Out of scope: processes and channels."""

from hypothesis import given
from hypothesis import strategies as st

from blockyard.errors import TaskTimeout
from blockyard.managed import course
from blockyard.managed.course import Course, Effect, Exit, Policy, Request
from blockyard.managed.signals import Signal
from blockyard.managed.states import MOVES, TaskStatus, may_follow

POLICY = Policy(timeout=100.0, grace=5.0, exit_seconds=10.0, drain_seconds=2.0)
FINE = Exit(code=0)


def running() -> Course:
    running, effects = course.started(Course(), 10.0)
    assert effects == ()
    return running


def ended(at: Course, exit_: Exit, policy: Policy = POLICY) -> Course:
    return course.drained(course.exited(at, exit_, 20.0, policy), policy)


def test_an_exit_code_of_zero_completes_a_program() -> None:
    assert ended(running(), FINE).status is TaskStatus.COMPLETED


def test_an_exit_alone_ends_nothing_while_something_is_unread() -> None:
    at = course.exited(running(), FINE, 20.0, POLICY)
    assert at.status is TaskStatus.RUNNING
    assert course.due(at, POLICY) == 22.0
    assert course.tick(at, 21.9, POLICY)[0].status is TaskStatus.RUNNING
    assert course.tick(at, 22.0, POLICY)[0].status is TaskStatus.COMPLETED


def test_an_exit_code_after_a_good_result_is_a_failure() -> None:
    at, _ = course.heard(running(), Signal.TASK_RESULT, {"status": "COMPLETED"}, 15.0)
    found = ended(at, Exit(code=3))
    assert (found.status, found.reason) == (TaskStatus.FAILED, "ExitCode")


def test_what_another_rank_said_behind_a_good_result_is_why_the_exit_is_bad() -> None:
    at, _ = course.heard(running(), Signal.TASK_RESULT, {"status": "COMPLETED"}, 15.0)
    at, _ = course.heard(at, Signal.TASK_FAILED, {"message": "ValueError: rank 1"}, 16.0)
    assert ended(at, Exit(code=3)).message == "exit code 3: ValueError: rank 1"
    assert (ended(at, FINE).status, ended(at, FINE).message) == (TaskStatus.COMPLETED, "")


def test_a_result_that_says_failed_stays_failed_with_exit_code_zero() -> None:
    at, _ = course.heard(running(), Signal.TASK_RESULT, {"status": "FAILED"}, 15.0)
    assert ended(at, FINE).status is TaskStatus.FAILED


def test_a_result_with_a_status_that_there_is_not_is_no_success() -> None:
    at, _ = course.heard(running(), Signal.TASK_RESULT, {"status": "FAILD"}, 15.0)
    found = ended(at, FINE)
    assert (found.status, found.reason) == (TaskStatus.FAILED, "TaskResult")
    assert "'FAILD'" in found.message


def test_a_signal_is_the_reason() -> None:
    assert ended(running(), Exit(signal=9)).reason == "SIGKILL"


def test_a_missing_result_is_a_failure_where_one_is_needed() -> None:
    needs = Policy(needs_result=True)
    assert ended(running(), FINE, needs).reason == "NoResult"
    done, _ = course.heard(running(), Signal.TASK_DONE, None, 15.0)
    assert ended(done, FINE, needs).status is TaskStatus.COMPLETED


def test_a_result_without_an_exit_is_waited_for_and_then_ended() -> None:
    at, _ = course.heard(running(), Signal.TASK_RESULT, {}, 15.0)
    assert course.due(at, POLICY) == 25.0
    at, effects = course.tick(at, 25.0, POLICY)
    assert effects == (Effect.TERMINATE,)
    assert (ended(at, Exit(signal=15)).status, at.reason) == (TaskStatus.TIMEDOUT, "NoExit")


def test_a_timeout_terminates_then_kills_and_is_not_overwritten_by_the_exit_code() -> None:
    at, effects = course.tick(running(), 110.0, POLICY)
    assert effects == (Effect.TERMINATE,)
    assert course.tick(at, 114.9, POLICY)[1] == ()
    at, effects = course.tick(at, 115.0, POLICY)
    assert effects == (Effect.KILL,)
    assert course.tick(at, 500.0, POLICY) == (at, ())
    assert ended(at, Exit(code=1)).status is TaskStatus.TIMEDOUT


def test_what_is_asked_to_stop_before_it_is_heard_to_run_stops_then() -> None:
    asked, effects = course.asked(Course(), Request.STOP, 9.0)
    assert (asked.status, effects) == (TaskStatus.PENDING, ())
    stopped, effects = course.started(asked, 10.0)
    assert (stopped.status, effects) == (TaskStatus.STOPPED, (Effect.STOP,))
    anew, _ = course.asked(asked, Request.CONTINUE, 9.5)
    running, effects = course.started(anew, 10.0)
    assert (running.status, effects) == (TaskStatus.RUNNING, ())


def test_silence_is_a_timeout_unless_it_is_stopped() -> None:
    policy = Policy(heartbeat=3.0)
    assert course.tick(running(), 13.0, policy)[0].reason == "NoHeartbeat"
    beaten, _ = course.heard(running(), Signal.TASK_HEARTBEAT, None, 12.0)
    assert course.due(beaten, policy) == 15.0
    held, effects = course.asked(beaten, Request.STOP, 12.0)
    assert effects == (Effect.STOP,)
    assert course.due(held, policy) is None
    on, effects = course.asked(held, Request.CONTINUE, 50.0)
    assert (on.status, effects, course.due(on, policy)) == (TaskStatus.RUNNING, (Effect.CONTINUE,), 53.0)


def test_the_first_of_cancel_and_timeout_wins_and_the_other_is_counted() -> None:
    at, _ = course.asked(running(), Request.CANCEL, 11.0)
    again, effects = course.asked(at, Request.CANCEL, 12.0)
    assert (again.refused, effects) == (1, ())
    late, _ = course.heard(again, Signal.TASK_FAILED, "late", 13.0)
    assert late.refused == 2
    assert ended(late, Exit(signal=15)).status is TaskStatus.CANCELLED


def test_what_never_started_is_failed_with_its_reason() -> None:
    at = course.not_started(Course(), "NotStarted", "no such file")
    assert (at.status, at.message) == (TaskStatus.FAILED, "no such file")


def test_a_step_that_raises_ends_it_and_says_whether_it_had_begun() -> None:
    missing = FileNotFoundError(2, "No such file or directory", "/nowhere")
    for begun, error, reason, message in (
        (Course(), missing, "NotStarted", "/nowhere: No such file or directory; nothing was run"),
        (running(), missing, "OSError", "/nowhere: No such file or directory"),
        (running(), OSError("broken"), "OSError", "broken"),
        (Course(), TaskTimeout("too long"), "TaskTimeout", "too long"),
        (Course(), ZeroDivisionError("by zero"), "ZeroDivisionError", "by zero"),
    ):
        at = course.broke_off(begun, error)
        assert (at.status, at.reason, at.message) == (TaskStatus.FAILED, reason, message)


def test_a_missing_result_may_be_among_what_was_no_message() -> None:
    policy = Policy(needs_result=True)
    at = course.drained(course.exited(running(), FINE, 12.0, policy), policy)
    assert course.explained(at, []) is at
    said = course.explained(at, [(2, "JSON is malformed"), (1, "no object")])
    assert said.message == f"{at.message}; lines that it said and that are no message: 3, the last one: no object"
    assert course.explained(running(), [(1, "no object")]).message == ""


def test_what_is_not_to_run_is_skipped_unless_it_runs_or_was_cancelled() -> None:
    at = course.skipped(Course(), "nothing new")
    assert (at.status, at.reason, at.message) == (TaskStatus.SKIPPED, "TaskSkipped", "nothing new")
    assert course.skipped(running(), "too late").status is TaskStatus.FAILED
    cancelled = course.asked(Course(), Request.CANCEL, 11.0)[0]
    assert course.skipped(cancelled, "nothing new").status is TaskStatus.CANCELLED


def test_only_what_had_completed_has_failed_after_all() -> None:
    failed = course.failed_after_all(ended(running(), FINE), "OutputMissing", "no such file")
    assert (failed.status, failed.reason) == (TaskStatus.FAILED, "OutputMissing")
    cancelled = ended(course.asked(running(), Request.CANCEL, 11.0)[0], Exit(signal=15))
    assert course.failed_after_all(cancelled, "OutputMissing", "no such file") == cancelled


def test_the_last_word_is_said_unless_a_result_was() -> None:
    assert course.last_word(TaskStatus.COMPLETED, has_result=False) is Signal.TASK_DONE
    assert course.last_word(TaskStatus.COMPLETED, has_result=True) is None
    assert course.last_word(TaskStatus.FAILED, has_result=True) is Signal.TASK_FAILED
    assert course.last_word(TaskStatus.CANCELLED, has_result=False) is Signal.TASK_CANCELLED
    assert course.last_word(TaskStatus.TIMEDOUT, has_result=False) is None


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("heard"), st.sampled_from(Signal), st.sampled_from([None, {"status": "FAILED"}, "text", 7])),
        st.tuples(st.just("asked"), st.sampled_from(Request), st.none()),
        st.tuples(st.just("exited"), st.sampled_from([FINE, Exit(code=2), Exit(signal=9)]), st.none()),
        st.tuples(st.just("drained"), st.none(), st.none()),
        st.tuples(st.just("lost"), st.none(), st.none()),
        st.tuples(st.just("tick"), st.floats(0.0, 60.0), st.none()),
    ),
    max_size=40,
)


@given(EVENTS)
def test_every_move_is_one_of_the_table_and_a_terminal_state_stays(events: list[tuple[str, object, object]]) -> None:
    at, now = running(), 10.0
    for kind, one, two in events:
        before = at
        match kind:
            case "heard":
                at, _ = course.heard(at, one, two, now)  # type: ignore[arg-type]
            case "asked":
                at, _ = course.asked(at, one, now)  # type: ignore[arg-type]
            case "exited" if at.exit is None:
                at = course.exited(at, one, now, POLICY)  # type: ignore[arg-type]
            case "drained":
                at = course.drained(at, POLICY)
            case "lost":
                at = course.lost(at, "gone")
            case "tick":
                now += one  # type: ignore[operator]
                at, _ = course.tick(at, now, POLICY)
        assert at.status is before.status or may_follow(before.status, at.status)
        if before.status.is_terminal:
            assert at.status is before.status


def test_no_terminal_state_has_a_way_on() -> None:
    assert {one for one in TaskStatus if not MOVES[one]} == {one for one in TaskStatus if one.is_terminal}


def test_a_status_is_shown_as_its_name() -> None:
    assert (str(TaskStatus.COMPLETED), f"{TaskStatus.TIMEDOUT}") == ("COMPLETED", "TIMEDOUT")
