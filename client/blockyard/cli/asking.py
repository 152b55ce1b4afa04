"""A link to the interchange for the length of one command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from blockyard import connect
from blockyard.cli.exits import NotFound
from blockyard.cli.options import Call
from blockyard.errors import BlockyardError, BrokenBlockyard
from blockyard.ids import TaskId, parse_task_name
from blockyard.remote import A, RemoteEngine, RemoteSettings
from blockyard.wire import control


class Asking:
    """Asks questions with the call's patience."""

    def __init__(self, engine: RemoteEngine, target: connect.Target, timeout: float) -> None:
        self.engine = engine
        self.target = target
        self._timeout = timeout

    def ask(self, question: control.Question, expected: type[A]) -> A:
        """Ask. Raises NotFound when what it is about does not exist, BrokenBlockyard when no answer comes."""
        try:
            return self.engine.ask(question, expected, self._timeout)
        except TimeoutError:
            raise BrokenBlockyard(
                f"{self.target.name}: the interchange did not answer within {self._timeout:g} s; its log tells why"
            ) from None
        except BrokenBlockyard:
            raise
        except BlockyardError as error:
            raise NotFound(str(error)) from error


@contextmanager
def asking(call: Call, where: Path | None = None) -> Iterator[Asking]:
    """Connect to the interchange of this state folder, or to that which the settings name."""
    settings = call.settings
    target = connect.find(where, settings)
    remote = RemoteSettings(target.link(), name="blockyard command line", patience=settings.timeout)
    engine = connect.open_engine(target, remote)
    try:
        yield Asking(engine, target, settings.timeout)
    finally:
        engine.shutdown(wait=True, cancel_futures=False)


class TaskName(click.ParamType[TaskId]):
    """A task as people write it, such as 1f3a-42."""

    name = "task"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> TaskId:
        """Read it, or fail with what is wrong."""
        try:
            return TaskId(value) if isinstance(value, int) else parse_task_name(str(value))
        except ValueError as error:
            is_cancel = ctx is not None and ctx.command.name == "cancel"
            hint = f"; if that is a run, write --run {value}" if is_cancel else ""
            self.fail(f"{error}{hint}", param, ctx)
