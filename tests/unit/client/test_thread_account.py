"""What is told of tasks on threads, from facts alone: those alike together, and once each try that runs for long."""

from resource import RUSAGE_THREAD, getrusage

from blockyard.ids import SessionId
from blockyard.threads.account import LOOK_SECONDS, Account, Running, Submitted
from blockyard.wire.monitoring import Needs, Tasks, Tries, TryState, micros
from blockyard.wire.records import TaskSpec

SPEC = TaskSpec(b"")


def submitted(number: int, function: str = "f", needs: tuple[int, ...] = ()) -> Submitted:
    return Submitted(number, SPEC, function, 1000 + number, needs, 0)


def test_tasks_alike_that_follow_each_other_are_one_record() -> None:
    account = Account(SessionId(1), "mine", 2)
    told = account.records([submitted(1), submitted(2, needs=(1,)), submitted(4), submitted(5, "g")])
    groups = [(one.first, one.count, one.function) for one in told if isinstance(one, Tasks)]
    assert groups == [(1, 2, "f"), (4, 1, "f"), (5, 1, "g")]
    assert [one for one in told if isinstance(one, Needs)] == [Needs(2, [[1]])]


def test_a_try_is_told_as_running_once_and_when_it_has_run_for_long() -> None:
    account = Account(SessionId(1), "mine", 2)
    began = 2_000_000
    long = began + micros(LOOK_SECONDS)
    running = {1: Running(1, 0, began, 0, 0, getrusage(RUSAGE_THREAD))}
    assert account.still_running(running, long) == []  # its submission is told with the next facts, and it with them
    account.records([submitted(1)])
    assert account.still_running(running, long - 1) == []
    (told,) = account.still_running(running, long)
    assert isinstance(told, Tries)
    assert [(one.task, one.state, one.is_last) for one in told.tries] == [(1, TryState.RUNNING, False)]
    assert account.still_running(running, long + 1) == []
