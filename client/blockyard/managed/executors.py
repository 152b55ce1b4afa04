"""The executors: a Python function or `Task` in a process of its own, any command, and MPI programs."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from blockyard.errors import ConfigError
from blockyard.kept_process import module_path
from blockyard.managed import handover, launch, parts, wide
from blockyard.managed.argv import Argument, arguments, word
from blockyard.managed.code_version import code_of_program, code_version, code_version_once, folder_of_module
from blockyard.managed.communicators import MakeCommunicator, SocketCommunicator
from blockyard.managed.course import Policy
from blockyard.managed.curve import CurveCommunicator
from blockyard.managed.environment import Resolved
from blockyard.managed.executor import BaseExecutor, Command
from blockyard.managed.parameters import sendable
from blockyard.managed.records import CodeVersion, ManagedResult, Output
from blockyard.managed.shim import blockyard_shim
from blockyard.managed.states import TaskStatus
from blockyard.managed.substitution import substitute
from blockyard.managed.wide import Leading

PARAMETERS_NAME: Final = "parameters.json"
_VERDICT_SECONDS: Final = 30.0
"""Longer than the interchange takes to see that a manager is gone: three of its heartbeats."""
_SHIM: Final = str(Path(blockyard_shim.__file__))

Target: TypeAlias = "Callable[..., Any] | str"


class Executor(BaseExecutor):
    """Runs a function, or a `Task` class, in a process of its own, and has what it returns as payload.

    `task` is the function or class, or ``module:name`` of it. It comes to its process as one that is submitted comes to
    a worker: by name, as its module is when it is imported, or by value if it has no such name. With `python` an
    interpreter of its own imports it by name, so it must have one.
    """

    speaks = True

    def __init__(
        self,
        task: Target,
        communicators: Sequence[MakeCommunicator] | None = None,
        *,
        python: str = "",
        name: str = "",
        **others: Any,
    ) -> None:
        """`python`: an interpreter of another environment; it needs Python 3.8 and nothing installed. `others`: see
        `BaseExecutor`."""
        self._target = _checked(task)
        self._python = python
        others.setdefault("policy", Policy(needs_result=True))
        others.setdefault("code", _folder_of(task))
        super().__init__(name or _name_of(task), communicators, **others)

    def module_path(self) -> str:
        return super().module_path() if self._python else module_path()

    def needed_path(self) -> list[str]:
        return [*([] if self._python else self.module_path().split(os.pathsep)), *super().needed_path()]

    def code_version(self) -> CodeVersion:
        # What was imported once is run as it was then, whatever has become of the files.
        name = handover.reference(self._target)
        importer = launch.who_imported(name.partition(":")[0]) if name else os.getpid()
        folder = self.code or _folder_as_found(name, self.environment)
        if folder and not self._python and importer:
            return code_version_once(folder, importer)
        return code_version(folder) if folder else CodeVersion()

    def submit_cmd(self) -> Command:
        parameters = sendable(self.parameters)
        if self._python:
            return Command(tuple(python_command(self._target, parameters, self.make_folder(), self._python)))
        call = handover.call_of(self._target, parameters)
        return Command((handover.reference(self._target) or self.task,), call=call)


class BinaryExecutor(BaseExecutor):
    """Runs any command. Its exit code says how it went; it may speak the protocol, and needs not."""

    def __init__(
        self,
        task: str,
        command: Sequence[str | os.PathLike[str]] = (),
        communicators: Sequence[MakeCommunicator] | None = None,
        *,
        arguments: Mapping[str, Argument] | None = None,
        stdin: str | os.PathLike[str] = "",
        fill: bool = True,
        parameters: Any = None,
        **others: Any,
    ) -> None:
        """`command`: its words, program first; ``{{ name }}`` is filled in from the parameters, if `fill`.

        `arguments`: parameters that are written behind it, and how. `parameters`: a mapping, or a model of
        `models.BinaryParameters` that says all of that itself. `stdin`: a file. `others`: see `BaseExecutor`.
        """
        if isinstance(command, str | bytes):
            raise ConfigError(
                f"executor of {task!r}: command={command!r} is one text; give a list of words, for no shell reads it"
            )
        self._words = _texts(task, command)
        self._arguments = dict(arguments or {})
        self._fill = fill
        self._stdin = os.fspath(stdin)
        if hasattr(parameters, "model_dump"):
            self.model, parameters = parameters, parameters.values()
        super().__init__(task, communicators, parameters=parameters, **others)
        if self.model is not None:
            from blockyard.managed import models  # pydantic is there, since a model is

            self.parameters_schema = models.schema(self.model.__class__)

    def declared_outputs(self) -> list[Output]:
        return [*super().declared_outputs(), *_result_of(self.model_now)]

    def code_version(self) -> CodeVersion:
        return _code_of(self, self.command.argv)

    def submit_cmd(self) -> Command:
        if self.model_now is not None:
            from blockyard.managed import models  # pydantic is there, since a model is

            words = models.command(self.model_now, self.parameters, self._words, self.directory)
            payload = self.model_now.result_path()
        else:
            words = filled(self._words, self.parameters) if self._fill else list(self._words)
            payload = None
        words += arguments((name, self.parameters.get(name), how) for name, how in self._arguments.items())
        if not words or not words[0]:
            raise ConfigError(f"executor of {self.task!r}: no command; give one, or a model with an executable")
        if payload is not None:
            self.set_result(payload=payload, impl_schemas=getattr(self.model_now, "impl_schemas", ""))
        return Command(tuple(words), stdin=self._stdin)


class MPIExecutor(BaseExecutor):
    """Runs a command or a function on several ranks, by ``mpirun``. The first rank speaks for all.

    They are on this machine; in a task that spans several managers (``nodes=…``) on all of theirs, see `wide`.
    """

    def __init__(  # noqa: PLR0913 - by name
        self,
        task: Target,
        ranks: int,
        communicators: Sequence[MakeCommunicator] | None = None,
        *,
        command: Sequence[str | os.PathLike[str]] = (),
        oversubscribe: bool = False,
        fill: bool = True,
        launcher: Sequence[str] = (),
        python: str = "",
        host: str = "",
        **others: Any,
    ) -> None:
        """`task`: a name, with `command`; or ``module:name`` of a function, or the function. `oversubscribe`: allow
        more ranks than cores. `launcher`: words instead of ``mpirun -np RANKS``. `host`: the IPv4 address of the first
        part of a wide task for the others, '' for the one that its manager has given. `others`: see `BaseExecutor`.
        """
        given: Any = ranks
        if not isinstance(given, int) or given < 1:
            raise ConfigError(f"executor of {task!r}: ranks={ranks!r}; give a whole number, at least 1")
        if isinstance(command, str | bytes):
            raise ConfigError(f"executor of {task!r}: command={command!r} is one text; give a list of words")
        if not command:
            _checked(task, "give a command, or ")
        self._target, self._words, self._ranks = task, _texts(_name_of(task), command), ranks
        self._fill = fill
        self._oversubscribe, self._launcher, self._python = oversubscribe, tuple(launcher), python
        self.speaks = not command
        others.setdefault("policy", Policy(needs_result=not command))
        others.setdefault("code", "" if command else _folder_of(task))
        self._host = host
        self._leading: Leading | None = None
        self._is_bereft = False
        """Another part is gone, and this one's program has ended for that."""
        self._is_told = bool(communicators)
        # mpirun hands no descriptors down to its ranks; a socket has an address.
        super().__init__(_name_of(task), communicators or (SocketCommunicator,), **others)

    def _execute(self) -> ManagedResult:
        where = parts.place()
        if where is None or self._launcher:
            return super()._execute()
        if not self._folder and not self._words:
            raise ConfigError(
                f"executor of {self.task!r}: its parameters go to {where.count} managers by a file; give a folder they "
                f"all share"
            )
        host = parts.address_of(self._host or where.address)
        if where.index:
            daemon = wide.Daemon(self.task, where, host, grace=self.policy.grace, directory=self._directory)
            try:
                return daemon.execute_task()
            finally:
                self.requests.clear()  # what was asked of this one was asked of the daemon as well
        self._is_bereft = False
        makers, self._leading = self._makers, wide.Leading(where, host)
        channels = makers if self._is_told else (partial(CurveCommunicator, host=host),)
        self._makers = (*channels, self._leading)
        try:
            found = super()._execute()
        finally:
            self._makers, self._leading = makers, None
        if self._is_bereft:
            # The interchange ends this try as soon as it sees it too, and tries again: the program is not to blame.
            time.sleep(_VERDICT_SECONDS)
        return found

    def finalize_task(self) -> None:
        if self._leading is not None and self.course.status is TaskStatus.FAILED and (lost := self._leading.lost()):
            self._is_bereft = True
            nodes = ", ".join(f"{part} on {self._leading.hosts[part]}" for part in lost)
            message = f"its parts are lost: {nodes}; {self.course.message}"
            self.course = msgspec.structs.replace(self.course, reason="PartLost", message=message)
        super().finalize_task()

    def _own_variables(self) -> dict[str, str]:
        return {**super()._own_variables(), **(self._leading.variables if self._leading is not None else {})}

    def submit_cmd(self) -> Command:
        launcher = self._launcher or (_mpirun(), *self._where(), *self._flags())
        if self._words:
            words = self._program()
        else:
            words = python_command(self._target, sendable(self.parameters), self.make_folder(), self._python)
        return Command((*launcher, *words))

    def code_version(self) -> CodeVersion:
        if not self._words:
            folder = self.code or _folder_as_found(handover.reference(self._target), self.environment)
            return code_version(folder) if folder else CodeVersion()
        # Not its command's, which begins with the launcher's words; '' when it came to none.
        return _code_of(self, self._program() if self.command.argv else ())

    def _program(self) -> list[str]:
        return filled(self._words, self.parameters) if self._fill else list(self._words)

    def module_path(self) -> str:
        return super().module_path() if self._python or self._words else module_path()

    def _where(self) -> list[str]:
        if self._leading is None:
            return ["-np", str(self._ranks)]
        self._leading.directory = self.directory
        self._leading.gather()
        self.metadata["nodes"] = self._leading.hosts
        ranks = self._leading.ranks
        if sum(ranks.values()) != self._ranks:
            raise ConfigError(
                f"executor of {self.task!r}: ranks={self._ranks}, but its parts take {sum(ranks.values())}; submit it "
                f"with ranks={self._ranks}"
            )
        # mpirun is told names only; what the variables hold is on no command line.
        given = [name for name, value in sorted(self.environment.variables.items()) if os.environ.get(name) != value]
        return parts.mpirun_words(ranks, [name for name in given if name not in self._leading.variables])

    def _flags(self) -> list[str]:
        flags = ["--oversubscribe"] if self._oversubscribe else []
        return [*flags, "--allow-run-as-root"] if os.geteuid() == 0 else flags


def filled(words: Sequence[str], parameters: Mapping[str, Any]) -> list[str]:
    """The words with their places filled in, each still one word. Raises ConfigError naming what there is not."""
    return [word(f"word {place}", substitute(one, parameters)) for place, one in enumerate(words)]


def _texts(task: str, command: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    for place, one in enumerate(command):
        if not isinstance(one, str | os.PathLike):
            raise ConfigError(f"executor of {task!r}: word {place} is {one!r}; give text, or a path")
    return tuple(os.fspath(one) for one in command)


def python_command(target: Target, parameters: Mapping[str, Any], folder: str, python: str = "") -> list[str]:
    """The words that run a function by the shim. Raises ConfigError for one that can't be found by its name."""
    reference = handover.reference(target)
    if not reference:
        raise ConfigError(
            f"task {_name_of(target)!r}: it has no name to be imported by; define it in a module, at its top level"
        )
    path = os.path.join(folder, PARAMETERS_NAME)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(parameters, file)
    return [python or sys.executable, "-u", _SHIM, reference, path]


def _checked(task: Target, other_ways: str = "") -> Target:
    """The task itself. Raises ConfigError when it is no function, or one that only makes a coroutine."""
    if isinstance(task, str):
        module, _, name = task.partition(":")
        if not module or not name:
            raise ConfigError(f"executor of {task!r}: {other_ways}write module:name of the function")
    elif not callable(task):
        raise ConfigError(
            f"executor: task={task!r} cannot be called; {other_ways}give a function, or module:name of it"
        )
    elif inspect.iscoroutinefunction(task) or inspect.isasyncgenfunction(task):
        raise ConfigError(
            f"executor of {_name_of(task)!r}: it is an async function, and nothing would await what it makes; give a "
            f"plain function, which calls asyncio.run({_name_of(task)}(…))"
        )
    return task


def _name_of(target: Target) -> str:
    return target.rpartition(":")[2] if isinstance(target, str) else getattr(target, "__name__", repr(target))


def _folder_of(target: Target) -> str:
    """Where its source is, '' when that can't be said; nothing is imported for it."""
    if isinstance(target, str):
        module = sys.modules.get(target.partition(":")[0])
        file = getattr(module, "__file__", None)
    else:
        try:
            file = inspect.getsourcefile(target)
        except TypeError:
            file = None
    return os.path.dirname(os.path.abspath(file)) if file else ""


def _folder_as_found(reference: str, environment: Resolved) -> str:
    """Of ``module:name``, as the task finds it; '' when it is to be found by no name."""
    path = environment.variables.get("PYTHONPATH", "")
    return folder_of_module(reference.partition(":")[0], path.split(os.pathsep)) if reference and path else ""


def _code_of(executor: BaseExecutor, words: Sequence[str]) -> CodeVersion:
    """Of `code`, or else of what the program's words name, or of the folder that it was told to work in."""
    path = executor.environment.variables.get("PATH", os.defpath)
    told = executor._directory
    return code_version(executor.code) if executor.code else code_of_program(words, executor.directory, path, told)


def _result_of(model: Any) -> tuple[Output, ...]:
    path = model.result_path() if model is not None else None
    return (Output(name="result", path=path),) if path else ()


def _mpirun() -> str:
    found = shutil.which("mpirun")
    if found is None:
        raise ConfigError("MPIExecutor: no mpirun on PATH; install Open MPI (Debian: openmpi-bin), or give a launcher")
    return found


__all__ = ["BinaryExecutor", "Executor", "MPIExecutor"]
