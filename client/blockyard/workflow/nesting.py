"""Steps that are templates: the steps of a WorkflowTemplate in the place of one, before anything is made of a run.

The steps of template step `prep` are called `prep-NAME`. Its arguments take the place of the template's parameters, so
that one may be another step's result; what refers to `prep` is given what the template's last step returns. What the
step waits for, its trigger and its condition are those of the template's first steps; those behind them follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from blockyard.workflow import expressions, graph
from blockyard.workflow.addresses import Stagers, no_others
from blockyard.workflow.checking.parameters import value_fault
from blockyard.workflow.checking.specs import check_spec, faults_of
from blockyard.workflow.reading import Fault, nearest
from blockyard.workflow.references import PATTERN, Reference, as_text, filled, parse, texts, walk
from blockyard.workflow.sources import Look, filled_in, unread
from blockyard.workflow.spec import MOST_LOCAL_STEPS, Parameter, Rule, Step, Sweep, Workflow

_SCOPE: Final = frozenset({"params", "steps"})
_LONGEST_NAME: Final = 63
_DEEPEST: Final = 16
_PLACE: Final = re.compile(r"spec\.steps\[(\d+)\]\.?(.*)", re.DOTALL)
Templates = Mapping[str, Mapping[str, Any]]
"""Name to spec."""


class _Bad(Exception):
    """A template step cannot be made steps of."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


def _nothing_more(spec: Workflow) -> list[Fault]:
    return []


def expanded(
    spec: Workflow,
    templates: Templates,
    stagers: Stagers = no_others,
    look: Look = unread,
    also: Callable[[Workflow], list[Fault]] = _nothing_more,
) -> tuple[Workflow | None, list[Fault]]:
    """A spec that has passed `checking`, with steps in the place of its templates, and what is wrong with the two.

    `look`: what ConfigMaps hold that its steps, and those of its templates, name. `also`: what else may be wrong with
    the whole.
    """
    if all(run[0].template is None for run in spec.alike):
        plain, unfilled = filled_in(spec, look)
        faults = [*unfilled, *also(plain)]
        return (None if faults else plain), faults
    faults = []
    steps, origins, last = _laid_out(spec, templates, stagers, faults)
    if not faults and len(steps) > MOST_LOCAL_STEPS:
        reason = f"has {len(steps)} steps with those of templates, at most {MOST_LOCAL_STEPS}"
        faults.append(Fault("spec.steps", reason))
    if faults:
        return None, faults
    pointed = _all_pointed(spec, steps, origins, last, faults)
    if faults:
        return None, faults
    whole, unfilled = filled_in(pointed, look)
    faults = [_placed(fault, origins) for fault in sorted([*unfilled, *faults_of(whole, stagers), *also(whole)])]
    return (None if faults else whole), faults


_Origin: TypeAlias = tuple[int, str]
"""The place of the step that a step was or came from, and its own name in a template, '' of none."""


def _laid_out(
    spec: Workflow, templates: Templates, stagers: Stagers, faults: list[Fault]
) -> tuple[list[Step], list[_Origin], dict[str, list[str]]]:
    """All steps, where each comes from, and of each template step those that nothing of it waits for."""
    steps: list[Step] = []
    origins: list[_Origin] = []
    last: dict[str, list[str]] = {}
    for place, step in enumerate(spec.steps):
        if step.template is None:
            steps.append(step)
            origins.append((place, ""))
            continue
        try:
            inner = _steps_of(step, templates, stagers, (step.template,))
        except _Bad as bad:
            faults.append(Fault(f"spec.steps[{place}].{bad.field}", bad.reason))
            continue
        last[step.name] = _last(inner)
        steps += inner
        origins += [(place, one.name.removeprefix(f"{step.name}-")) for one in inner]
    return steps, origins, last


def _all_pointed(
    spec: Workflow, steps: list[Step], origins: list[_Origin], last: Mapping[str, list[str]], faults: list[Fault]
) -> Workflow:
    """The spec with these steps, which refer to the last steps of templates where they referred to those."""
    made: list[Step] = []
    for step, (place, _) in zip(steps, origins, strict=True):
        try:
            made.append(_pointed(step, last))
        except _Bad as bad:
            faults.append(Fault(f"spec.steps[{place}].{bad.field}", bad.reason))
    on_exit = spec.on_exit
    try:
        on_exit = None if on_exit is None else _pointed(on_exit, last)
    except _Bad as bad:
        faults.append(Fault(f"spec.onExit.{bad.field}", bad.reason))
    return msgspec.structs.replace(spec, steps=made, on_exit=on_exit)


def _placed(fault: Fault, origins: list[_Origin]) -> Fault:
    """A fault of the whole, where the file has its cause."""
    match = _PLACE.fullmatch(fault.path)
    if match is None:
        return fault
    place, name = origins[int(match[1])]
    if not name:
        return Fault(f"spec.steps[{place}]{'.' * bool(match[2])}{match[2]}", fault.reason)
    return Fault(f"spec.steps[{place}].template", f"its step {name!r}: {match[2]}: {fault.reason}")


def _steps_of(step: Step, templates: Templates, stagers: Stagers, way: tuple[str, ...]) -> list[Step]:
    """The steps of a template step, those of templates in it included. `way`: the templates that lead here."""
    name = way[-1]
    if name in way[:-1] or len(way) > _DEEPEST:
        raise _Bad("template", f"templates hold one another: {' → '.join(way)}")
    if name not in templates:
        raise _Bad("template", f"there is no template {name!r}{nearest(name, templates)}")
    found, faults = check_spec(dict(templates[name]), stagers, needs_arguments=False)
    if found is None:
        raise _Bad("template", f"template {name!r} is not in order: {faults[0]}")
    if found.template_ref is not None:
        raise _Bad("template", f"template {name!r} takes its steps from another; name that")
    if found.on_exit is not None:
        raise _Bad("template", f"template {name!r} has an onExit, which is a run's own; make it a step with Always")
    arguments = _arguments(step, found.parameters, name)
    steps: list[Step] = []
    last: dict[str, list[str]] = {}
    for one in found.steps:
        if one.template is None:
            steps.append(one)
            continue
        nested = _steps_of(one, templates, stagers, (*way, one.template))
        last[one.name] = _last(nested)
        steps += nested
    scope = _Scope(step.name, arguments)
    return [_joined(scope.of(_pointed(one, last)), step, is_first=not _needs(one)) for one in steps]


def _arguments(step: Step, parameters: list[Parameter], template: str) -> dict[str, Any]:
    """Parameter to value, or to a text with references. Raises _Bad."""
    known = {one.name: one for one in parameters}
    for name, value in step.arguments.items():
        if name not in known:
            raise _Bad(f"arguments.{name}", f"template {template!r} has no such parameter{nearest(name, known)}")
        is_open = any(PATTERN.search(text) for _, text in texts(value))
        if not is_open and (reason := value_fault(known[name], value)):
            raise _Bad(f"arguments.{name}", reason)
    found = {one.name: step.arguments.get(one.name, one.default) for one in parameters}
    for name, value in found.items():
        if value is None and name not in step.arguments:
            raise _Bad(f"arguments.{name}", f"is required: the parameter of template {template!r} has no default")
    return found


def _joined(inner: Step, outer: Step, *, is_first: bool) -> Step:
    """A step of a template as a step of the whole."""
    changes: dict[str, Any] = {"pool": inner.pool or outer.pool}
    if is_first:
        conditions = [one for one in (outer.when, inner.when) if one]
        changes["needs"] = list(dict.fromkeys([*inner.needs, *outer.needs]))
        changes["when"] = " && ".join(f"({one})" for one in conditions) if len(conditions) > 1 else "".join(conditions)
        if outer.trigger is not Rule.ALL_SUCCESS:
            changes["trigger"] = outer.trigger
    return msgspec.structs.replace(inner, **changes)


class _Scope:
    """What the names in a template stand for outside of it."""

    def __init__(self, prefix: str, arguments: Mapping[str, Any]) -> None:
        self._prefix = prefix
        self._arguments = arguments

    def of(self, step: Step) -> Step:
        """A step with the names of outside. Raises _Bad."""
        name = self._named(step.name)
        if len(name) > _LONGEST_NAME:
            raise _Bad("name", f"with it a step is called {name!r}, {len(name)} letters; at most {_LONGEST_NAME}")
        step = _rewritten(step, self._reference, self._parameter, lambda one, _: self._named(one))
        return msgspec.structs.replace(step, name=name, needs=[self._named(one) for one in step.needs])

    def _named(self, step: str) -> str:
        return f"{self._prefix}-{step}"

    def _reference(self, reference: Reference) -> Any:
        if reference.root == "steps":
            return _text(Reference("steps", (self._named(reference.step), *reference.path[1:])))
        name, *path = reference.path
        value = self._arguments[name]
        if not path:
            return value
        whole = PATTERN.fullmatch(value) if isinstance(value, str) else None
        if whole is not None:
            there = parse(whole[1])
            return _text(Reference(there.root, (*there.path, *path)))
        try:
            return walk(value, tuple(path), f"params.{name}")
        except LookupError as error:
            raise _Bad(f"arguments.{name}", str(error)) from error

    def _parameter(self, name: str) -> str:
        """What stands for a parameter in a condition."""
        if name not in self._arguments:
            raise _Bad("template", f"its conditions name a parameter {name!r} that it does not have")
        value = self._arguments[name]
        whole = PATTERN.fullmatch(value) if isinstance(value, str) else None
        if whole is None and not any(PATTERN.search(text) for _, text in texts(value)):
            return msgspec.json.encode(value).decode()
        there = parse(whole[1]) if whole is not None else None
        if there is not None and there.root == "params":
            return "".join(("params", *map(_index, there.path)))
        if there is not None and there.root == "steps" and there.path[1] == "outputs":
            return "".join((f'steps["{there.step}"].outputs', *map(_index, there.path[2:])))
        raise _Bad(f"arguments.{name}", "a condition in the template sees it: give a value, a parameter or an output")


def _index(part: str) -> str:
    return f"[{part}]" if part.isdecimal() else f'["{part}"]'


def _pointed(step: Step, last: Mapping[str, list[str]]) -> Step:
    """A step that refers to the last steps of templates where it referred to those. Raises _Bad."""
    if not last:
        return step

    def only(name: str, field: str) -> str:
        ends = last.get(name, [name])
        if len(ends) > 1:
            raise _Bad(field, f"step {name!r} is a template with several last steps; name one: {', '.join(ends)}")
        return ends[0]

    def reference(found: Reference) -> Any:
        if found.root != "steps":
            return _text(found)
        return _text(Reference("steps", (only(found.step, "arguments"), *found.path[1:])))

    step = _rewritten(step, reference, lambda name: f'params["{name}"]', only)
    needs = [end for name in step.needs for end in last.get(name, [name])]
    return msgspec.structs.replace(step, needs=needs)


def _rewritten(
    step: Step,
    reference: Callable[[Reference], Any],
    parameter: Callable[[str], str],
    named: Callable[[str, str], str],
) -> Step:
    """A step with other references in its texts and in its condition."""
    plain = {"arguments": step.arguments, "binary": step.binary, "environment": step.environment}
    found = filled(plain, reference, _SCOPE)
    changes: dict[str, Any] = {"arguments": found["arguments"]}
    for field in ("binary", "environment"):
        if found[field]:
            changes[field] = _as_texts(found[field])
    if step.mpi is not None:
        command = _as_texts(filled(step.mpi.command, reference, _SCOPE))
        changes["mpi"] = msgspec.structs.replace(step.mpi, command=command)
    if step.sweep is not None:
        changes["sweep"] = _sweep(filled(msgspec.to_builtins(step.sweep), reference, _SCOPE))
    if step.when:
        changes["when"] = expressions.rewritten(step.when, parameter, lambda name: named(name, "when"))
    return msgspec.structs.replace(step, **changes)


def _sweep(plain: dict[str, Any]) -> Sweep:
    """A list that is known by now is one."""
    if isinstance(plain.get("from"), list):
        plain = {"list": plain["from"]}
    try:
        return msgspec.convert(plain, Sweep)
    except msgspec.ValidationError as error:
        raise _Bad("template", f"the sweep of a step in it: {error}") from error


def _as_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: as_text(one) for name, one in value.items()}
    return [as_text(one) for one in value]


def _text(reference: Reference) -> str:
    return f"${{{{ {reference} }}}}"


def _needs(step: Step) -> list[str]:
    return graph.needs_of(step, graph.results_of(step))


def _last(steps: list[Step]) -> list[str]:
    needed = {name for step in steps for name in _needs(step)}
    return [step.name for step in steps if step.name not in needed]
