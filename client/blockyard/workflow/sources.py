"""The Python of steps that stands elsewhere: its text in the place of what names it, before anything is made of a run.

So a run's code is fixed by its content when it starts, and whoever compiles, caches or runs it knows one form: a text.
Who has a cluster reads the ConfigMaps and says here what they hold; pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from blockyard.errors import ConfigError
from blockyard.workflow.checking.python_text import argument_faults, source_fault
from blockyard.workflow.reading import Fault, nearest
from blockyard.workflow.spec import Source, Step, Workflow


class ConfigMap(msgspec.Struct, frozen=True):
    """What was read of one. `problem`: why there is nothing, '' when there is."""

    data: Mapping[str, str] = {}
    problem: str = ""


Look = Callable[[str], ConfigMap | None]
"""A ConfigMap by its name; None while it has not been read."""


def unread(name: str) -> None:
    """For who only looks whether a workflow is in order: steps stay as they are."""


def without_cluster(name: str) -> ConfigMap:
    """For who runs a workflow on this machine."""
    return ConfigMap(problem=f"ConfigMap {name!r} is a cluster's, and this run is not; write the text itself")


def filled_in(spec: Workflow, look: Look) -> tuple[Workflow, list[Fault]]:
    """A spec with texts where its steps name them, and what is wrong with what was found."""
    kinds = [run[0] for run in spec.alike] + ([] if spec.on_exit is None else [spec.on_exit])
    if not any(isinstance(step.source, Source) for step in kinds):
        return spec, []
    faults: list[Fault] = []
    steps = {path: _with_text(path, step, look, faults) for path, step in _steps(spec)}
    on_exit = steps.pop("spec.onExit", None)
    return msgspec.structs.replace(spec, steps=list(steps.values()), on_exit=on_exit), faults


def to_read(spec: Workflow) -> tuple[str, ...]:
    """The ConfigMaps that a spec still needs, by name."""
    found = (step.source.config_map for _, step in _steps(spec) if isinstance(step.source, Source))
    return tuple(sorted({one.name for one in found if one is not None}))


def text_of(step: Step) -> str:
    """The Python of a step of a spec that was `filled_in`; '' for another kind. Raises ConfigError for what was not."""
    if isinstance(step.source, Source):
        raise ConfigError(f"step {step.name}: source: its text was not read")
    return step.source or ""


def _steps(spec: Workflow) -> Iterator[tuple[str, Step]]:
    yield from ((f"spec.steps[{place}]", step) for place, step in enumerate(spec.steps))
    if spec.on_exit is not None:
        yield "spec.onExit", spec.on_exit


def _with_text(path: str, step: Step, look: Look, faults: list[Fault]) -> Step:
    if not isinstance(step.source, Source):
        return step
    text, wanted = step.source.inline, step.source.config_map
    if wanted is not None:
        found = look(wanted.name)
        if found is None:
            return step
        field = f"{path}.source.configMap"
        text = found.data.get(wanted.key)
        if found.problem:
            faults.append(Fault(f"{field}.name", found.problem))
        elif text is None:
            reason = f"ConfigMap {wanted.name!r} has no key {wanted.key!r}{nearest(wanted.key, found.data)}"
            faults.append(Fault(f"{field}.key", reason))
        elif reason := source_fault(text):
            faults.append(Fault(f"{field}.key", f"{wanted.key!r} of ConfigMap {wanted.name!r} {reason}"))
            text = None
        elif wrong := [*argument_faults(path, text, step.arguments)]:
            faults += wrong
            text = None
    return step if text is None else msgspec.structs.replace(step, source=text)
