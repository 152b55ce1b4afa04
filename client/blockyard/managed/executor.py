"""The life of one managed task: `BaseExecutor`, whose steps a subclass may override, in the order they are called.

    pre_task              folder, channels, environment, tasklets that come before
    submit_cmd            what is to be run
    submit_task           it is started, below a keeper
    task_loop             everything that it says, prints and does, until its end
    finalize_task         outputs, tasklets that come after
    process_results       payload and summary, to those who want them
    store_configuration   the record: written when the task starts, and completed here

Making an executor does nothing but remember, so any number may be declared in a module. One runs one task at a time
and may run again; several run beside each other in threads of their own. What goes wrong with the task is in the
`ManagedResult`, not raised; only the caller's own mistakes are.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from blockyard import this_try
from blockyard.errors import BlockyardError, Cancelled, ConfigError
from blockyard.managed import artefacts, course, default_hooks, launch, outputs, recording, result_sinks
from blockyard.managed.capture import Stream, captured, echo
from blockyard.managed.code_version import code_version
from blockyard.managed.communicators import Communicator, MakeCommunicator, PipeCommunicator
from blockyard.managed.course import Course, Policy, Request
from blockyard.managed.environment import Environment, Mode, MoreValues, Resolved, with_parts
from blockyard.managed.frames import Message
from blockyard.managed.hooks import FAULTS, Hook, HookEvent, Hooks
from blockyard.managed.records import (
    AnalysisConfig,
    CodeVersion,
    Failure,
    ManagedResult,
    OnError,
    Output,
    OutputFile,
    Progress,
    TaskResult,
    WhenTasklet,
)
from blockyard.managed.requests import NotWanted, Requests
from blockyard.managed.result_sinks import Sink
from blockyard.managed.shim.blockyard_shim import ARTEFACTS_VARIABLE
from blockyard.managed.signals import Event, Point, Signal
from blockyard.managed.states import TaskStatus
from blockyard.managed.supervision import Loop
from blockyard.managed.tasklets import Tasklet, TaskSkipped, changes_of

log = logging.getLogger("blockyard.managed")

SHIM_FOLDER: Final = str(Path(__file__).parent / "shim")
_LOG_LINES: Final = 1000


class Command(msgspec.Struct, frozen=True):
    """What is to be run: a program, or a function."""

    argv: tuple[str, ...]
    call: launch.Call | None = None
    stdin: str = ""
    """A file; '' for none."""


class BaseExecutor(ABC):
    """Supervises one program. See the module for the steps."""

    speaks = False
    """Whether the program itself says TASK_STARTED; the executor says it for those that don't."""
    model: Any = None
    """What its parameters were given as, if that was one of `models`; what tasklets make of them must fit it too."""

    def __init__(  # noqa: PLR0913 - by name, and each is one thing that a task may have
        self,
        task: str,
        communicators: Sequence[MakeCommunicator] | None = None,
        *,
        parameters: Mapping[str, Any] | None = None,
        policy: Policy | None = None,
        directory: str | os.PathLike[str] = "",
        folder: str | os.PathLike[str] = "",
        outputs: Iterable[Output] = (),
        echo: bool = False,
        code: str = "",
        sinks: Iterable[Sink | str] = (),
        run: str = "",
        step: str = "",
    ) -> None:
        """`task`: its name. `communicators`: objects, or what makes them; a `PipeCommunicator` if none are given.

        `directory`: where the task works; '' for this process's own. `folder`: where record, streams and artefacts go;
        '' for one that is removed at the end, unless the task leaves artefacts. `echo`: print what the task prints.
        `code`: the folder whose commit is recorded; '' for that of the function, or of what the program's words name.
        `sinks`: functions that get the executor when its task has ended, or names of entry points of the group
        ``blockyard.result_sinks``.
        """
        if not task:
            raise ConfigError("executor: task=''; give the task a name")
        self.task = task
        self._makers: tuple[MakeCommunicator, ...] = tuple(communicators or (PipeCommunicator,))
        self.parameters: dict[str, Any] = dict(parameters or {})
        self.policy = policy or Policy()
        self.outputs = tuple(outputs)
        self._check()
        self._sinks = [result_sinks.sink_of(one) for one in sinks]
        self.echo = echo
        self.run, self.step = run, step
        self.spec: dict[str, Any] = {}
        """For the record: what asked for it, without secrets."""
        self.parameters_schema: dict[str, Any] = {}
        """For the record: the JSON schema of its parameters, where a model says what they are."""
        self._directory, self._folder, self.code = os.fspath(directory), os.fspath(folder), code
        self._environment = Environment()
        self._hooks = Hooks()
        self._given: dict[str, Any] | None = None
        """The parameters before a tasklet changed them; None while none has."""
        self._tasklets: list[Tasklet] = []
        self._busy = threading.Lock()
        self.requests = Requests()
        self._reset()
        self.add_default_hooks()

    def _check(self) -> None:
        self._expect("policy", [self.policy], lambda one: isinstance(one, Policy), "a Policy")
        self._expect("outputs", self.outputs, lambda one: isinstance(one, Output), "Outputs")
        makes = "Communicators, or what makes them"
        self._expect("communicators", self._makers, lambda one: isinstance(one, Communicator) or callable(one), makes)

    def _expect(self, name: str, given: Iterable[Any], is_right: Callable[[Any], bool], what: str) -> None:
        for one in given:
            if not is_right(one):
                raise ConfigError(f"executor of {self.task!r}: {name}: {one!r}; give {what}")

    def _reset(self) -> None:
        if self._given is not None:
            self.parameters, self._given = self._given, None
        self._variables: list[MoreValues] = []
        self.model_now = self.model
        """The same with what tasklets have changed."""
        self.course = Course()
        self.result = TaskResult(task_name=self.task)
        self.communicators: list[Communicator] = []
        self.streams: list[Stream] = []
        self.metadata: dict[str, Any] = {}
        self.metrics: dict[str, float] = {}
        self.progress = Progress()
        self.artefacts: list[Output] = []
        self.log_lines: deque[str] = deque(maxlen=_LOG_LINES)
        self.failures: list[Failure] = []
        self.files: list[OutputFile] = []
        self.usage: dict[str, float] = {}
        self.strays = 0
        self.environment = Resolved({})
        self.folder = ""
        self.directory = ""
        self.started_at = 0.0
        self._before: dict[str, outputs.Stamp | None] = {}
        self.book = recording.Book(self)
        """Which keeps its record, and tells the history how it goes on."""
        self._said: set[Event] = set()
        self.command = Command(())

    # ------------------------------------------------------------------------------------------------ declaration

    def add_hook(self, event: str | Signal | Point, hook: Hook, *, replace: bool = False) -> None:
        """Have `hook(executor, event)` called; see `hooks`. Raises ConfigError for an event that there is not."""
        self._hooks.add(event, hook, replace=replace)

    def add_default_hooks(self) -> None:
        """Those that keep parameters, result, metrics and artefacts, and pass the task's log on."""
        default_hooks.add_to(self)

    def update_environment(self, env: MoreValues, mode: Mode = "prepend", path_variables: Iterable[str] = ()) -> None:
        """Set variables of the task; those that are lists of paths are joined as `mode` says. See `environment`.

        `env` may be a function that returns them when the task starts; a value may be a `Secret`, or None to remove it.
        """
        self._environment.update(env, mode, path_variables)

    def shell_source(self, script: str | os.PathLike[str], timeout: float = 60.0) -> None:
        """Give the task the environment that sourcing this bash script makes."""
        self._environment.source(script, timeout)

    def add_tasklet(
        self,
        function: Callable[..., Any],
        args: Sequence[Any] = (),
        *,
        when: WhenTasklet = "after",
        set_result: bool = False,
        set_summary: bool = False,
        on_error: OnError = "warn",
    ) -> None:
        """Call a small function in this process before or after the task; see `tasklets`."""
        self._tasklets.append(
            Tasklet(function, tuple(args), when, set_result=set_result, set_summary=set_summary, on_error=on_error)
        )

    # ------------------------------------------------------------------------------------------------ from outside

    @property
    def grace(self) -> float:
        """Seconds between SIGTERM and SIGKILL."""
        return self.policy.grace

    def stop(self) -> None:
        """Hold all processes of the task. From any thread."""
        self._ask(Request.STOP)

    def resume(self) -> None:
        """Let a stopped task go on. From any thread."""
        self._ask(Request.CONTINUE)

    def cancel(self, why: str = "") -> None:
        """End the task: SIGTERM to all its processes, SIGKILL to those that remain after the grace. From any thread."""
        self._ask(Request.CANCEL, why)

    def respond(self, request: HookEvent, contents: Any) -> None:
        """Answer a TASK_REQUEST, over the connection that it came by. Raises ChannelClosed when that is gone."""
        asked = next((one for one in self.communicators if one.has_asked(request.id)), self.communicators[0])
        asked.write(Message(Signal.TASK_RESPONSE, contents, request.rank, request.id))

    def write(self, message: Message) -> None:
        """Say something to the task, over its first communicator. Raises ChannelClosed when nobody is there."""
        self.communicators[0].write(message)

    def _ask(self, request: Request, why: str = "") -> None:
        if self._busy.locked():  # else there is nothing to ask it of
            self.requests.add(request, why)

    # ------------------------------------------------------------------------------------------------ the life

    def execute_task(self) -> ManagedResult:
        """Run the task to its end, whatever that is. Raises ConfigError for a declaration that can't be carried out,
        and what this process itself is ended by (`Cancelled`, KeyboardInterrupt), after the task was."""
        if not self._busy.acquire(blocking=False):
            raise ConfigError(f"executor of {self.task!r}: it runs already; use another one")
        try:
            with this_try.running(self):
                return self._execute()
        finally:
            self._busy.release()

    def _execute(self) -> ManagedResult:
        self._reset()
        interruption: BaseException | None = None
        with contextlib.ExitStack() as stack:
            try:
                self._prepare_places(stack)
                self.pre_task()
                self.command = self.submit_cmd()
                self.emit(Point.BEFORE_EXEC, self.command.argv)
                self.book.begin()
                self._heed()
                keeper = self.submit_task(self.command)
                stack.callback(keeper.close)
                interruption = self.task_loop(keeper)
            except TaskSkipped as skip:
                self.course = course.skipped(self.course, str(skip))
            except (NotWanted, Cancelled, KeyboardInterrupt) as unwanted:
                if not isinstance(unwanted, NotWanted):
                    if self.course.status is not TaskStatus.PENDING:  # a second one, while it ends
                        raise
                    interruption = unwanted
                    self.cancel(_why(unwanted))
                self._take_requests()
                self.course = course.not_started(self.course, self.course.reason, self.course.message)
            except FAULTS as error:
                if not isinstance(error, BlockyardError | OSError):  # an overridden step's, or that of given variables
                    log.exception("%s: a step of its executor failed", self.task)
                self.course = course.broke_off(self.course, error)
            interruption = self._conclude() or interruption
            found = self._finish()
        if interruption is not None:
            raise interruption
        return found

    def _heed(self) -> None:
        """Before it is started. Raises NotWanted when it was cancelled."""
        self._take_requests()
        if self.course.verdict is not None:
            raise NotWanted

    def _take_requests(self) -> None:
        for request, why in self.requests.take():
            self.course, _ = course.asked(self.course, request, time.monotonic(), why)
            if request is Request.CANCEL:
                self.emit(Point.CANCEL_REQUESTED, why)

    def _conclude(self) -> BaseException | None:
        """The last steps. What one raises is recorded: the record is completed in any case. Returns what this process
        is to be ended by."""
        interruption: BaseException | None = None
        try:
            dropped = [(one.dropped, one.last_fault) for one in self.communicators if one.dropped]
            self.course = course.explained(self.course, dropped)
            self.finalize_task()
        except FAULTS as error:
            log.exception("%s: finalize_task failed", self.task)
            self.course = course.failed_after_all(self.course, type(error).__name__, f"finalize_task: {error}")
        except (Cancelled, KeyboardInterrupt) as unwanted:
            interruption = unwanted
            self.course = course.cut_off(self.course, _why(unwanted))
        self._last_word()
        if interruption is not None:
            return interruption
        try:
            self.process_results()
        except FAULTS as error:
            log.exception("%s: process_results failed", self.task)
            message = f"{type(error).__name__}: {error}"
            self.failures.append(Failure(what="process_results", where="process_results", message=message))
        except (Cancelled, KeyboardInterrupt) as unwanted:
            interruption = unwanted
            self.failures.append(Failure(what="process_results", where="process_results", message=_why(unwanted)))
        return interruption

    def make_folder(self) -> str:
        """The folder, made if it is not there: one that nobody asked for is made when something goes into it."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        return self.folder

    def _prepare_places(self, stack: contextlib.ExitStack) -> None:
        self.directory = os.path.abspath(self._directory or os.getcwd())
        if self._folder:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self.folder = os.path.abspath(self._folder)
        else:
            self.folder = os.path.join(tempfile.gettempdir(), f"blockyard-managed-{secrets.token_hex(8)}")
            stack.callback(self._remove_folder, self.folder)
        for make in self._makers:
            self.communicators.append(stack.enter_context(make if isinstance(make, Communicator) else make()))
        self.streams = stack.enter_context(captured(self.folder if self._folder else "", echo if self.echo else None))
        self.requests.open()
        stack.callback(self.requests.close)

    def _remove_folder(self, folder: str) -> None:
        if not self.artefacts and os.path.exists(folder):
            shutil.rmtree(folder, ignore_errors=True)

    def pre_task(self) -> None:
        """Work out the environment and run what comes before. What it raises fails the task; TaskSkipped skips it."""
        self.run_tasklets("before")
        if self.model is not None and self._given is not None:
            from blockyard.managed import models  # pydantic is there, since a model is

            self.model_now = models.validated(type(self.model), self.parameters, self.task)
            self.parameters = self.model_now.values()
        environment = self._environment.copy()
        for variables in self._variables:
            environment.update(variables)
        own = self._own_variables()
        apart = own.keys() - {"PYTHONPATH"}
        self.environment = environment.resolve({**os.environ, **own}, apart, self.requests.unwanted)
        # Whatever was asked for: without them the task finds neither the shim nor, in a fork, Python's own modules.
        variables, needed = self.environment.variables, self.needed_path()
        variables["PYTHONPATH"] = with_parts(variables.get("PYTHONPATH", ""), needed)
        self.emit(Point.ENV_READY)

    def _own_variables(self) -> dict[str, str]:
        path = self.module_path()
        return {
            **self.communicators[0].variables,
            ARTEFACTS_VARIABLE: os.path.join(self.folder, "artefacts"),
            "PYTHONPATH": f"{path}{os.pathsep}{SHIM_FOLDER}" if path else SHIM_FOLDER,
        }

    def module_path(self) -> str:
        """PYTHONPATH of the task, without the shim's folder."""
        return os.environ.get("PYTHONPATH", "")

    def needed_path(self) -> list[str]:
        """What must be on PYTHONPATH of the task, behind all that it is given."""
        return [SHIM_FOLDER]

    @abstractmethod
    def submit_cmd(self) -> Command:
        """What is to be run, from the parameters. Raises ConfigError when it can't be said."""

    def submit_task(self, command: Command) -> launch.Keeper:
        """Start it. Raises OSError when there can be no new process, or no such folder to work in."""
        os.stat(os.path.join(self.directory, ""))  # a keeper could only say that something was not found
        stdin = os.open(command.stdin or os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            plan = launch.Plan(
                argv=command.argv,
                env=self.environment.variables,
                directory=self.directory,
                standard=(stdin, *(stream.writer for stream in self.streams)),  # type: ignore[arg-type]  # two of them
                open=tuple(number for one in self.communicators for number in one.inherited),
                call=command.call,
            )
            self._before = outputs.stamps(self.declared_outputs(), self.directory)
            self.started_at = time.time()
            return launch.start(plan)
        finally:
            os.close(stdin)
            for stream in self.streams:
                stream.release()
            for communicator in self.communicators:
                communicator.release()

    def task_loop(self, keeper: launch.Keeper) -> BaseException | None:
        """Supervise it until it has ended and all it said was read. Returns what this process is to be ended by."""
        loop = Loop(self, keeper)
        try:
            loop.run()
        except (Cancelled, KeyboardInterrupt) as interruption:
            self.cancel(_why(interruption))
            loop.run()
            return interruption
        return None

    def declared_outputs(self) -> list[Output]:
        """What it must leave."""
        return list(self.outputs)

    def finalize_task(self) -> None:
        """Verify outputs, and run the tasklets that come after a task that was started."""
        if self.course.status is TaskStatus.COMPLETED:
            declared = self.declared_outputs()
            declared += [one for one in self.artefacts if one not in declared]
            self.files, faults = outputs.look_at_all(declared, self.directory, self.started_at, self._before)
            if faults:
                self.course = course.failed_after_all(self.course, "OutputMissing", "; ".join(faults))
        if self.course.exit is not None:
            try:
                self.run_tasklets("after")
            except BlockyardError as error:
                self.course = course.failed_after_all(self.course, type(error).__name__, str(error))

    def process_results(self) -> None:
        """Tell the history of values, figures and files, and hand payload and summary to the sinks. What one raises is
        recorded, and keeps none of the others from it."""
        if self.record_id:
            try:
                artefacts.tell(self.record_id, self.result, self.files)
            except (OSError, TypeError, ValueError, RecursionError) as error:  # a file is gone, a value can't be said
                log.warning("%s: its artefacts were not told: %s", self.task, error)
                self.failures.append(Failure(what="artefacts", where="process_results", message=str(error)))
        result_sinks.tell(self, self._sinks)

    def store_configuration(self, record: AnalysisConfig) -> None:
        """Keep the record: once when the task starts, once when it has ended. Here: ``record.json`` of the folder."""
        if self._folder and self.folder:  # one is wanted, and could be made
            recording.write(record, self.folder)

    # ------------------------------------------------------------------------------------------------ for the steps

    def emit(self, event: Event, contents: Any = None, rank: int = 0, number: int = 0) -> None:
        """Run the hooks of an event."""
        self._said.add(event)
        if self._hooks.has(event):
            self._hooks.run(self, HookEvent(event, contents, rank, number, time.time()))

    def has_said(self, event: Event) -> bool:
        """Whether this event has been."""
        return event in self._said

    @property
    def record_id(self) -> str:
        """`AnalysisConfig.id` of the task that runs, or ran last; '' for one that never came so far."""
        return self.book.record.id if self.book.record is not None else ""

    def set_result(self, **changes: Any) -> None:
        """Change parts of the result."""
        self.result = msgspec.structs.replace(self.result, **changes)

    def run_tasklets(self, when: WhenTasklet) -> None:
        """Run those of this time; what they change is this execution's. Raises TaskletFailed for one with
        ``on_error="fail"``, TaskSkipped."""
        for tasklet in self._tasklets:
            if tasklet.when == when:
                changes = changes_of(tasklet, self.parameters, self.failures)
                if changes.environment:
                    self._variables.append(changes.environment)
                if changes.parameters:
                    self._given = self.parameters if self._given is None else self._given
                    self.parameters = {**self.parameters, **changes.parameters}
                if changes.has_payload:
                    self.set_result(payload=changes.payload)
                if changes.has_summary:
                    self.set_result(summary=changes.summary)

    def _last_word(self) -> None:
        """The event of its end, if the task has not said it itself."""
        self.set_result(task_status=self.course.status)
        event = course.last_word(self.course.status, has_result=self.has_said(Signal.TASK_RESULT))
        if event is not None and not self.has_said(event):
            self.emit(event, {"reason": self.course.reason, "message": self.course.message})

    def code_version(self) -> CodeVersion:
        """Of `code`. An override may know better."""
        return code_version(self.code) if self.code else CodeVersion()

    def _finish(self) -> ManagedResult:
        ended = self.book.end(self._hooks.take_failures())
        self.emit(Point.RECORDED, ended)
        found = recording.returned(self, ended, self.folder if self._folder or self.artefacts else "")
        self.emit(Point.FINALISED, found)
        return found


def _why(interruption: BaseException) -> str:
    if isinstance(interruption, KeyboardInterrupt):
        return "it was interrupted"
    return "the task that ran it was cancelled, or its time was over"
