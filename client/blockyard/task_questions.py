"""What a user asks of one task by its future: why it waits, what it printed, and to stop its programs.

The interchange answers. What an answer means where nobody gives one, and how it is put in words, is here.
"""

from typing import Any, Protocol, TypeVar

from blockyard.ending import ended_in_words
from blockyard.errors import BlockyardError
from blockyard.futures import TaskFuture
from blockyard.ids import TaskId, task_name
from blockyard.wire import control

A = TypeVar("A", bound=control.Answer)


class Ask(Protocol):
    """Of the connection; see `RemoteEngine.ask`."""

    def __call__(self, question: control.Question, expected: type[A], /) -> A: ...


class TaskQuestions:
    """The hooks `explain`, `output` and `hold` of a `FutureHome`.

    `keep`: the run's tasks are known to the interchange after they have ended.
    """

    def __init__(self, ask: Ask, *, keep: bool) -> None:
        self._ask = ask
        self._keep = keep

    def explain(self, future: TaskFuture[Any]) -> str:
        """Why a task waits or how it ended, in words. Does not count as looking at its outcome."""
        name = task_name(TaskId(future.task))
        if future.done() and not self._keep:
            return f"Task {name} {ended_in_words(future)}"
        try:
            return " ".join(self._ask(control.Task(future.task), control.TaskIs).sentences)
        except BlockyardError:
            if not future.done():
                raise
            return f"Task {name} {ended_in_words(future)}"
        except TimeoutError as silence:
            return f"Task {name} is {future.state}, as far as this process has heard. {silence}"

    def output(self, future: TaskFuture[Any]) -> str:
        """What a task has printed, all tries one after the other."""
        return "".join(one.text for one in self._ask(control.Output(future.task), control.OutputIs).tries)

    def hold(self, future: TaskFuture[Any], held: bool) -> None:  # noqa: FBT001 - a hook
        """Stop a task's programs, or let them go on."""
        self._ask(control.HoldTask(future.task, held), control.Done)
