"""`Workflow` in Python: the same spec as a file, put together by calls.

    flow = Workflow("pipeline")
    load = flow.step(load_data, path="x.csv")
    fits = flow.step(fit, data=load, alpha=item("alpha"), options={"sweep": product(alpha=[0.1, 1.0])})
    flow.step(report, fits=fits)
    client.run(flow)

Functions that workers can import go by name; others by their source, and may not use anything from around them.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from blockyard.errors import NotSendable
from blockyard.files import File, Output
from blockyard.workflow.spec import Parameter, Step, Sweep
from blockyard.workflow.spec import Workflow as Spec


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
    return Sweep(product={name: list(values) for name, values in columns.items()})


def zipped(**columns: Sequence[Any]) -> Sweep:
    """A sweep over the first of each, the second of each, and so on."""
    return Sweep(zip={name: list(values) for name, values in columns.items()})


def each(items: Iterable[Any] | int | StepRef) -> Sweep:
    """A sweep over a list, over numbers up to one, or over what a step returns."""
    match items:
        case int():
            return Sweep(range=items)
        case StepRef():
            return Sweep(from_=str(items))
        case _:
            return Sweep(list_=list(items))


class Workflow:
    """Steps in order of their calls. What is wrong with them is said when it is run."""

    def __init__(
        self, name: str, *, pool: str = "default", parameters: Sequence[Parameter] = (), **fields: Any
    ) -> None:
        """`fields`: further ones of `spec.Workflow`, such as ``active_deadline_seconds``."""
        self.name = name
        self._spec = Spec(pool=pool, parameters=list(parameters), **fields)
        self._steps: list[Step] = []
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        """Where to go on looking for a free one, by name."""

    def step(
        self,
        what: Callable[..., Any] | str | Sequence[str],
        /,
        *,
        step: str = "",
        options: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> StepRef:
        """Add a step: a function, an import path, or a program's command. Its result stands for it in later steps.

        `step`: its name, the function's own by default, with a number when that is taken. `options`: further fields of
        `spec.Step`, such as ``{"needs": [other], "when": "…", "outputs": ["n"], "sweep": product(…)}``.
        """
        name = step or self._free(_name(what))
        fields = dict(options or {})
        fields["needs"] = [str(one.name) if isinstance(one, StepRef) else one for one in fields.get("needs", ())]
        self._taken.add(name)
        self._steps.append(Step(name=name, arguments=_plain(arguments), **_kind(what), **fields))
        return StepRef(name)

    def on_exit(self, what: Callable[..., Any] | str | Sequence[str], /, **arguments: Any) -> None:
        """The step that runs when all others have ended, however."""
        step = Step(name=self._free("on-exit"), arguments=_plain(arguments), **_kind(what))
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


def _name(what: Callable[..., Any] | str | Sequence[str]) -> str:
    if isinstance(what, str):
        return what.rpartition(":")[2].rpartition(".")[2]
    if callable(what):
        return getattr(what, "__name__", type(what).__name__).strip("<>")
    return what[0].rpartition("/")[2].replace(".", "-")


def _kind(what: Callable[..., Any] | str | Sequence[str]) -> dict[str, Any]:
    if isinstance(what, str):
        return {"function": what}
    if not callable(what):
        return {"binary": [_plain(one) for one in what]}
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
    free = [*what.__code__.co_freevars]
    if free:
        raise NotSendable(f"{what.__qualname__} uses {free[0]!r} from around it; pass that as an argument")
    try:
        text = textwrap.dedent(inspect.getsource(what))
    except OSError as error:
        raise NotSendable(f"{what.__qualname__}: {error}; put it into a module that workers can import") from error
    return f"{text}\nmain_function = {what.__name__}\n\ndef main(**arguments):\n    return main_function(**arguments)\n"


def _plain(value: Any) -> Any:
    match value:
        case StepRef():
            return str(value)
        case File():
            named = {"output" if isinstance(value, Output) else "file": value.url}
            return named | ({"sha256": value.sha256} if value.sha256 else {})
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    return value
