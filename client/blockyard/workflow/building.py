"""`Workflow` in Python: the same spec as a file, put together by calls.

    flow = Workflow("pipeline")
    load = flow.step(load_data, path="x.csv")
    fits = flow.step(fit, data=load, alpha=item("alpha"), options={"sweep": product(alpha=[0.1, 1.0])})
    flow.step(report, fits=fits)
    client.run(flow)

Functions that workers can import go by name; others by their source, and may not use anything from around them.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any, TypeAlias

import msgspec

from blockyard.errors import ConfigError, NotSendable
from blockyard.files import File, Output
from blockyard.suggestion import nearest
from blockyard.workflow.spec import Mpi, OneOfMany, Parameter, Step, Sweep
from blockyard.workflow.spec import Workflow as Spec

_SAID_OTHERWISE = {"name", "arguments", "steps", "on_exit", "function", "source", "binary", "mpi", "task", "template"}
"""Fields that `Workflow` and `Workflow.step` have their own ways to say."""


class StepRef:
    """A step that was added: as an argument of another it stands for its result."""

    def __init__(self, name: str) -> None:
        self.name = name

    def output(self, name: str) -> str:
        """A reference to one of its declared outputs."""
        return f"${{{{ steps.{self.name}.outputs.{name} }}}}"

    def __str__(self) -> str:
        return f"${{{{ steps.{self.name}.result }}}}"


def item(*path: str) -> str:
    """A reference to a sweep's item, or to a part of it."""
    return f"${{{{ {'.'.join(('item', *path))} }}}}"


def param(name: str) -> str:
    """A reference to a parameter."""
    return f"${{{{ params.{name} }}}}"


def argument(name: str) -> str:
    """In a program's command, a reference to one of its arguments: the path of a `File`, for instance."""
    return f"${{{{ arguments.{name} }}}}"


def product(**columns: Sequence[Any]) -> Sweep:
    """A sweep over every combination."""
    return Sweep(product={name: _plain(list(values), f"product: {name}") for name, values in columns.items()})


def zipped(**columns: Sequence[Any]) -> Sweep:
    """A sweep over the first of each, the second of each, and so on."""
    return Sweep(zip={name: _plain(list(values), f"zipped: {name}") for name, values in columns.items()})


def each(items: Iterable[Any] | int | StepRef) -> Sweep:
    """A sweep over a list, over numbers up to one, or over what a step returns."""
    match items:
        case int():
            return Sweep(range=items)
        case StepRef():
            return Sweep(from_=str(items))
        case _:
            return Sweep(list_=_plain(list(items), "each"))


class Managed(msgspec.Struct, frozen=True):
    """A managed task, by its name."""

    name: str


def task(name: str) -> Managed:
    """What a step does: the managed task that is registered under this name, or 'package.module:NAME'."""
    return Managed(name)


def mpi(command: Sequence[Any], ranks: int, *, nodes: int = 0, ranks_per_node: int = 0) -> Mpi:
    """What a step does: a program as so many ranks of MPI, over nodes of one block."""
    words = [_plain(one, f"command[{place}]") for place, one in enumerate(command)]
    return Mpi(command=words, ranks=ranks, nodes=nodes, ranks_per_node=ranks_per_node)


What: TypeAlias = Callable[..., Any] | str | Sequence[str] | Managed | Mpi
"""A function, an import path, a program's command, `task(…)` or `mpi(…)`."""


class Workflow:
    """Steps in order of their calls. What is wrong with them is said when it is run."""

    def __init__(
        self, name: str, *, pool: str = "default", parameters: Sequence[Parameter] = (), **fields: Any
    ) -> None:
        """`fields`: further ones of `spec.Workflow`, such as ``active_deadline_seconds``. Raises ConfigError."""
        _refuse_unknown(fields, Spec, f"workflow {name!r}")
        self.name = name
        self._spec = Spec(pool=pool, parameters=list(parameters), **fields)
        self._steps: list[Step] = []
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        """Where to go on looking for a free one, by name."""

    def step(
        self,
        what: What,
        /,
        *,
        step: str = "",
        options: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> StepRef:
        """Add a step: a function, an import path, a program's command, `task(…)` or `mpi(…)`. Its result stands for it
        in later steps.

        `step`: its name, the function's own by default, with a number when that is taken. `options`: further fields of
        `spec.Step`, such as ``{"needs": [other], "when": "…", "outputs": ["n"], "sweep": product(…)}``.
        Raises ConfigError for one that there is not, or an argument that the function does not take; NotSendable for a
        function or an argument that no file could say.
        """
        name = step or self._free(_name(what))
        fields = dict(options or {})
        _refuse_unknown(fields, Step, f"step {name!r}")
        fields["needs"] = [str(one.name) if isinstance(one, StepRef) else one for one in fields.get("needs", ())]
        self._taken.add(name)
        fields |= _kind(what)
        if isinstance(what, FunctionType) and (reason := _argument_fault(what, *arguments)):
            raise ConfigError(f"step {name!r}: {reason}")
        made = OneOfMany if _is_one_of_many(name, fields) else Step
        self._steps.append(made(name=name, arguments=_given(name, arguments), **fields))
        return StepRef(name)

    def on_exit(self, what: What, /, **arguments: Any) -> None:
        """The step that runs when all others have ended, however."""
        name = self._free("on-exit")
        if isinstance(what, FunctionType) and (reason := _argument_fault(what, *arguments)):
            raise ConfigError(f"step {name!r}: {reason}")
        step = Step(name=name, arguments=_given(name, arguments), **_kind(what))
        self._spec = msgspec.structs.replace(self._spec, on_exit=step)

    @property
    def spec(self) -> Spec:
        """What a file would say."""
        return msgspec.structs.replace(self._spec, steps=list(self._steps))

    def _free(self, name: str) -> str:
        free, number = name, self._numbers.get(name, 2)
        while free in self._taken:
            free, number = f"{name}-{number}", number + 1
        self._numbers[name] = number
        return free


def _is_one_of_many(name: object, fields: Mapping[str, Any]) -> bool:
    """Whether a step of these fields is surely of the right types: a function that just waits for others."""
    return (
        type(name) is str
        and fields.keys() in ({"function", "needs"}, {"source", "needs"})
        and all(type(one) is str for one in fields["needs"])
    )


def _refuse_unknown(fields: Mapping[str, Any], record: type[msgspec.Struct], where: str) -> None:
    known = [one for one in record.__struct_fields__ if one not in _SAID_OTHERWISE]
    for name in fields:
        if name not in known:
            raise ConfigError(f"{where}: there is no field {name!r}{nearest(name, known)}")


@functools.lru_cache(maxsize=1024)
def _argument_fault(what: Callable[..., Any], *given: str) -> str:
    """What is wrong with giving a function these arguments by name; '' when nothing is. Of 10^5 steps nearly all ask
    the same."""
    found = inspect.signature(what, follow_wrapped=False).parameters.values()
    if any(one.kind in (one.VAR_KEYWORD, one.POSITIONAL_ONLY) for one in found):
        return ""
    named = {one.name: one for one in found if one.kind is not one.VAR_POSITIONAL}
    for name in given:
        if name not in named:
            return f"{what.__name__} takes no argument {name!r}{nearest(name, named)}"
    for name, one in named.items():
        if one.default is one.empty and name not in given:
            return f"{what.__name__} needs an argument {name!r}"
    return ""


def _name(what: What) -> str:
    match what:
        case str():
            return what.rpartition(":")[2].rpartition(".")[2]
        case Managed():
            return what.name.rpartition(":")[2].replace(".", "-")
        case Mpi():
            return _name(what.command)
    if callable(what):
        return getattr(what, "__name__", type(what).__name__).strip("<>")
    if not what:
        raise NotSendable("a command has at least one word: the program")
    return str(what[0]).rpartition("/")[2].replace(".", "-")


def _kind(what: What) -> dict[str, Any]:
    match what:
        case str():
            return {"function": what}
        case Managed():
            return {"task": what.name}
        case Mpi():
            return {"mpi": what}
    if not callable(what):
        return {"binary": [_plain(one, f"command[{place}]") for place, one in enumerate(what)]}
    module, name = getattr(what, "__module__", ""), getattr(what, "__qualname__", "")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is what and module != "__main__":
        return {"function": f"{module}:{name}"}
    return {"source": _source(what)}


def _source(what: Callable[..., Any]) -> str:
    if not inspect.isfunction(what) or what.__name__ == "<lambda>":
        raise NotSendable(f"{what!r}: a step is a function with a name; give it one by def")
    return _text_of(what)


@functools.lru_cache(maxsize=1024)
def _text_of(what: FunctionType) -> str:
    """What a step of this function says. Of 10^5 steps nearly all have the same; it is read, and kept, once."""
    free = [*what.__code__.co_freevars]
    if free:
        raise NotSendable(f"{what.__qualname__} uses {free[0]!r} from around it; pass that as an argument")
    try:
        text = textwrap.dedent(inspect.getsource(what))
    except OSError as error:
        raise NotSendable(f"{what.__qualname__}: {error}; put it into a module that workers can import") from error
    return f"{text}\nmain_function = {what.__name__}\n\ndef main(**arguments):\n    return main_function(**arguments)\n"


def _given(step: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value, f"step {step!r}: argument {name}") for name, value in arguments.items()}


def _plain(value: Any, where: str) -> Any:
    """A value as a file would say it. Raises NotSendable for what no file says, with the path to it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return float(value)  # numpy's are no others
        case StepRef():
            return str(value)
        case File():
            named = {"output" if isinstance(value, Output) else "file": value.url}
            return named | ({"sha256": value.sha256} if value.sha256 else {})
        case dict() if all(isinstance(key, str) for key in value):
            return {key: _plain(one, f"{where}.{key}") for key, one in value.items()}
        case list() | tuple():
            return [_plain(one, f"{where}[{place}]") for place, one in enumerate(value)]
    shown = f"{value!r:.40}" if isinstance(value, float) else f"a {type(value).__name__}"
    kind = "a dict with keys that are no texts" if isinstance(value, dict) else shown
    raise NotSendable(
        f"{where}: {kind} cannot stand in a workflow; texts, numbers, True, False, None, lists and dicts of them, "
        "files and steps can"
    )
