"""`run_managed`: one managed task from a small record, for those who have no code to declare one with.

A step of a workflow, a command line, a submitted function: each says what is to run as a `ManagedSpec` and gets
a `ManagedResult`. It runs where it is called; submit it (``client.submit(run_managed, spec)``) to have it run on a
worker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from blockyard.errors import ConfigError
from blockyard.managed import registry
from blockyard.managed.argv import Argument
from blockyard.managed.course import Policy
from blockyard.managed.environment import Mode, Resolved, Secret
from blockyard.managed.executor import BaseExecutor
from blockyard.managed.executors import BinaryExecutor, Executor, MPIExecutor
from blockyard.managed.records import ManagedResult, Output
from blockyard.suggestion import nearest

if TYPE_CHECKING:
    from blockyard.managed.documents import Document


class ManagedSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to run: exactly one of `task`, `function` and `binary`. Durations in seconds, 0 for no limit."""

    task: str = ""
    """A managed task by the name that it is registered under."""
    function: str = ""
    """``module:name`` of a function or `Task` class."""
    binary: tuple[str, ...] = ()
    """A command's words, program first; ``{{ name }}`` is filled in from the parameters."""
    name: str = ""
    """For people; '' for that of the task, function or program."""
    ranks: int = 0
    """Run it on so many ranks of MPI; 0: without MPI."""
    oversubscribe: bool = False
    parameters: dict[str, Any] = {}
    fill: bool = True
    """False: ``{{ name }}`` in the words of `binary` stays as it is."""
    arguments: dict[str, Argument] = {}
    """Parameters that are written behind the words of `binary`, and how."""
    environment: dict[str, str | None] = {}
    """None removes a variable."""
    environment_mode: Mode = "prepend"
    secrets: dict[str, str] = {}
    """Variable to ``file:PATH`` or ``env:NAME``."""
    source: tuple[str, ...] = ()
    """Shell scripts whose environment it gets, in this order, before `environment`."""
    directory: str = ""
    """Where it works; '' for the caller's own folder."""
    code: str = ""
    """The folder whose commit and changes are recorded; '' for that of `function`, of the first word of `binary` that
    names something in a repository, or else `directory`."""
    folder: str = ""
    """Where record, streams and artefacts stay; '' for nowhere, unless it leaves artefacts."""
    stdin: str = ""
    python: str = ""
    """Another interpreter, for `function`."""
    outputs: tuple[Output, ...] = ()
    timeout: float = 0.0
    heartbeat: float = 0.0
    grace: float = 10.0
    echo: bool = True
    """Print what it prints."""
    run: str = ""
    step: str = ""


def read_spec(spec: ManagedSpec | Mapping[str, Any]) -> ManagedSpec:
    """The spec, checked. Raises ConfigError naming the field."""
    if not isinstance(spec, ManagedSpec | Mapping):
        raise ConfigError(f"managed task: {spec!r}; give a ManagedSpec, or a mapping with its fields")
    if not isinstance(spec, ManagedSpec):
        try:
            spec = msgspec.convert(dict(spec), ManagedSpec)
        except msgspec.ValidationError as error:
            raise ConfigError(f"managed task: {error}{_hint(str(error))}") from error
    given = [field for field in ("task", "function", "binary") if getattr(spec, field)]
    if len(given) != 1:
        raise ConfigError(f"managed task: give one of task, function, binary (found {', '.join(given) or 'none'})")
    what = f"{given[0]} with ranks" if spec.ranks else given[0]
    idle = [field for field, users in _USERS.items() if what not in users and getattr(spec, field)]
    if idle:
        users = " or ".join(_USERS[idle[0]])
        raise ConfigError(f"managed task: {idle[0]} is for {users}, and this is {what}")
    for name in spec.arguments:
        if name not in spec.parameters:
            raise ConfigError(f"managed task: arguments.{name}: no such parameter{nearest(name, spec.parameters)}")
    return spec


_USERS: Final = {
    "ranks": ("function with ranks", "binary with ranks"),
    "oversubscribe": ("function with ranks", "binary with ranks"),
    "python": ("function", "function with ranks"),
    "arguments": ("binary",),
    "stdin": ("binary",),
}
"""Fields that not everything has a use for."""


def _hint(fault: str) -> str:
    """The nearest name, when the fault is a field that there is not."""
    found = _UNKNOWN.search(fault)
    if found is None:
        return ""
    record = {"outputs": Output, "arguments": Argument}.get(found[2] or "", ManagedSpec)
    return nearest(found[1], record.__struct_fields__)


_UNKNOWN: Final = re.compile(r"unknown field `(.*?)`(?: - at `\$\.(\w+))?")


def spec_of(name: str, document: Document | None = None) -> ManagedSpec:
    """The spec of a registered task: its section is the parameters, and of the header ``task_timeout``, ``work_dir``
    and ``run`` are heeded.

    Raises ConfigError; also when there is no such section, and for one of another registered task that is not right.
    """
    if document is None:
        return ManagedSpec(task=name)
    registry.find(name)  # which may import what registers the others
    own = name.rpartition(":")[2]
    if own not in document.sections:
        near = nearest(own, document.sections, then="A task without parameters has {}")
        raise ConfigError(f"no section {own!r}{near}")
    for other, section in document.sections.items():
        if other in registry.known():
            registry.find(other).check(section)
    header = document.header
    timeout = header.get("task_timeout", 0.0)
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or timeout < 0:
        raise ConfigError(f"header: task_timeout={timeout!r}; give seconds, 0 for no limit")
    return ManagedSpec(
        task=name,
        parameters=document.section(own),
        timeout=float(timeout),
        directory=str(header.get("work_dir") or ""),
        run=str(header.get("run", "")),
    )


def executor_for(spec: ManagedSpec) -> BaseExecutor:
    """The executor that a spec asks for. Raises ConfigError."""
    executor = _made(spec)
    if spec.name:
        executor.task = spec.name
    if spec.code:
        executor.code = spec.code
    for script in spec.source:
        executor.shell_source(script)
    if spec.environment:
        executor.update_environment(spec.environment, spec.environment_mode)
    if spec.secrets:
        executor.update_environment({name: Secret(source) for name, source in spec.secrets.items()})
    return executor


def _made(spec: ManagedSpec) -> BaseExecutor:
    common: dict[str, Any] = {
        "directory": spec.directory,
        "folder": spec.folder,
        "outputs": spec.outputs,
        "echo": spec.echo,
        "run": spec.run,
        "step": spec.step,
    }
    policy = Policy(timeout=spec.timeout, heartbeat=spec.heartbeat, grace=spec.grace, needs_result=bool(spec.function))
    if spec.task:
        return registry.find(spec.task).executor(spec.parameters, policy, common)
    name = spec.name or (spec.binary[0].rpartition("/")[2] if spec.binary else "")
    if spec.ranks:
        return MPIExecutor(
            spec.function or name, spec.ranks, command=spec.binary, oversubscribe=spec.oversubscribe, fill=spec.fill,
            python=spec.python, parameters=spec.parameters, policy=policy, **common,
        )  # fmt: skip
    if spec.function:
        return Executor(
            spec.function, python=spec.python, name=spec.name, parameters=spec.parameters, policy=policy, **common
        )
    return BinaryExecutor(
        name, spec.binary, arguments=spec.arguments, fill=spec.fill, stdin=spec.stdin,
        parameters=spec.parameters, policy=policy, **common,
    )  # fmt: skip


def for_record(spec: ManagedSpec) -> dict[str, Any]:
    """A spec as it may be kept and given again: fields that say something, and no values of secret variables."""
    shown = Resolved({name: value for name, value in spec.environment.items() if value is not None}).for_record()
    environment = {name: shown.get(name) for name in spec.environment}
    default, found = ManagedSpec(), msgspec.structs.replace(spec, environment=environment)
    plain = msgspec.to_builtins(found, enc_hook=str)
    return {name: value for name, value in plain.items() if getattr(found, name) != getattr(default, name)}


def run_managed(spec: ManagedSpec | Mapping[str, Any], *, check: bool = False) -> ManagedResult:
    """Run it to its end.

    Raises ConfigError for a spec that can't be carried out; with `check`, ManagedTaskFailed when it did not complete.
    """
    spec = read_spec(spec)
    executor = executor_for(spec)
    executor.spec = for_record(spec)
    found = executor.execute_task()
    return found.check() if check else found
