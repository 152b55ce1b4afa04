"""Managed tasks by name: those that a decorator or `register` made known here, and those of other distributions.

    @managed_task("find-peaks", parameters=FindPeaksParameters)
    def find_peaks(threshold: float) -> dict: ...

    register("index", BinaryExecutor, command=["indexamajig"], parameters=IndexParameters)

Another distribution names its own by an entry point of the group ``blockyard.tasks``, for example
``index = "my_package.tasks:index"``; that is a decorated function, or what `register` returned. A name is looked up
before anything runs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from blockyard import plugins
from blockyard.errors import ConfigError
from blockyard.managed.course import Policy
from blockyard.managed.executor import BaseExecutor
from blockyard.managed.executors import BinaryExecutor, Executor, MPIExecutor
from blockyard.suggestion import hint

GROUP: Final = "blockyard.tasks"

F = TypeVar("F", bound=Callable[..., Any])
Configure = Callable[[BaseExecutor], None]


class UnknownTask(ConfigError, LookupError):
    """No managed task has this name."""


class ManagedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A declared task. `parameters`: a pydantic model of `models`, or None for any."""

    name: str
    kind: type[BaseExecutor]
    target: Any = None
    parameters: Any = None
    settings: dict[str, Any] = {}
    """For the executor."""
    configure: Configure | None = None
    """Called with each executor: environment, hooks and tasklets are set here."""
    description: str = ""

    def check(self, parameters: Mapping[str, Any]) -> Any:
        """The parameters, as a model's instance if there is one. Raises ConfigError naming each fault."""
        if self.parameters is None:
            return dict(parameters)
        from blockyard.managed import models

        return models.validated(self.parameters, parameters, self.name)

    def executor(
        self, parameters: Mapping[str, Any], policy: Policy | None = None, common: Mapping[str, Any] | None = None
    ) -> BaseExecutor:
        """An executor of its own for one run. Raises ConfigError for parameters that are not right, naming each."""
        common = common or {}
        said = {name: value for name, value in common.items() if value not in ("", (), True)}  # else the declared one's
        settings = {**common, **self.settings, **said}
        settings["outputs"] = (*common.get("outputs", ()), *self.settings.get("outputs", ()))
        given = self.check(parameters)
        if policy is not None:
            settings["policy"] = self._policy(policy)
        if self.kind is BinaryExecutor:
            made: BaseExecutor = BinaryExecutor(self.name, parameters=given, **settings)
        else:
            values = given if isinstance(given, dict) else given.values()
            if self.kind is MPIExecutor:
                made = MPIExecutor(self.target or self.name, parameters=values, **settings)
            elif self.kind is Executor:
                made = Executor(self.target, name=self.name, parameters=values, **settings)
            else:
                made = self.kind(self.name, parameters=values, **settings)
        if self.parameters is not None and not made.parameters_schema:
            from blockyard.managed import models

            made.parameters_schema = models.schema(self.parameters)
            made.model = given
        if self.configure is not None:
            self.configure(made)
        return made

    def _policy(self, asked: Policy) -> Policy:
        """What is asked for, where it says something; else the declared one's."""
        silent = Policy()
        declared: Policy = self.settings.get("policy", silent)
        fields = ((name, getattr(asked, name)) for name in Policy.__struct_fields__)
        said = {name: value for name, value in fields if value != getattr(silent, name)}
        is_function = self.kind is Executor or (self.kind is MPIExecutor and not self.settings.get("command"))
        return msgspec.structs.replace(declared, **said, needs_result=is_function or declared.needs_result)


_known: dict[str, ManagedTask] = {}


def register(
    name: str,
    kind: type[BaseExecutor] = BinaryExecutor,
    *,
    target: Any = None,
    parameters: Any = None,
    configure: Configure | None = None,
    description: str = "",
    **settings: Any,
) -> ManagedTask:
    """Make a task known here. The same name again replaces it: a module may be imported anew."""
    task = ManagedTask(
        name=name, kind=kind, target=target, parameters=parameters, settings=settings, configure=configure,
        description=description,
    )  # fmt: skip
    _known[name] = task
    return task


def managed_task(
    name: str, *, parameters: Any = None, configure: Configure | None = None, **settings: Any
) -> Callable[[F], F]:
    """Make a function or a `Task` class known as a managed task; it stays what it is."""

    def add(target: F) -> F:
        description = (target.__doc__ or "").strip().partition("\n")[0]
        register(
            name, Executor, target=target, parameters=parameters, configure=configure, description=description,
            **settings,
        )  # fmt: skip
        return target

    return add


def find(name: str) -> ManagedTask:
    """The task of this name; ``module:name`` imports the module first. Raises UnknownTask with the nearest name."""
    module, colon, plain = name.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UnknownTask(f"managed task {name!r}: {module} does not import: {error}") from error
    else:
        plain = name
    if plain in _known:
        return _known[plain]
    points = plugins.registered(GROUP)
    if plain not in points:
        there = names()
        way = "" if ":" in name else "; write module:name of one that no distribution registers"
        known = ", ".join(there) or "none"
        raise UnknownTask(f"no managed task {plain!r}; {hint(plain, there)}there are: {known}{way}")
    return _load(plain, points[plain])


def known() -> frozenset[str]:
    """Names of the tasks that are known in this process."""
    return frozenset(_known)


def names() -> list[str]:
    """Of all tasks that are known here or registered by a distribution."""
    return sorted({*_known, *plugins.registered(GROUP)})


def _load(name: str, value: str) -> ManagedTask:
    try:
        found = pkgutil.resolve_name(value)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownTask(f"managed task {name!r} does not load from {value}: {error}") from error
    if isinstance(found, ManagedTask):
        return found
    if name in _known:  # a decorated function: importing its module has made it known
        return _known[name]
    raise UnknownTask(f"managed task {name!r}: {value} is {type(found).__name__}; name what register() returned")
