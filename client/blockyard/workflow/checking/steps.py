"""The steps of one spec, looked at one by one and then as a graph.

What is wrong with one by itself is left to `kinds` and `sweeps`, or to `templates`.
"""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from blockyard.kube.quantities import seconds
from blockyard.workflow import expressions, graph
from blockyard.workflow.addresses import Stagers, file_faults, files_in, is_all_own
from blockyard.workflow.checking.kinds import amount_faults, is_import_path, kind_faults
from blockyard.workflow.checking.sweeps import item_fault, source_of, sweep_faults
from blockyard.workflow.checking.templates import template_step_faults
from blockyard.workflow.reading import Fault, nearest
from blockyard.workflow.references import PATTERN, BadReference, Reference, parse, walk
from blockyard.workflow.spec import Kind, Resources, Retry, Rule, Step, Workflow

_NO_RESOURCES: Final = Resources()
_NO_RETRY: Final = Retry()
_SKIPS: Final = {Rule.ANY_FAILED, Rule.ALL_FAILED, Rule.ALL_SKIPPED}
"""Triggers that skip a step though none of those that it needs was skipped."""
_SILENT_FIELDS: Final = (
    "source", "binary", "mpi", "task", "template", "environment", "resources", "sweep", "when", "trigger", "cache",
    "cache_version",
)  # fmt: skip
"""Of a step, besides those that a plain one has, of which something may be wrong."""
_SILENT_OF: Final = operator.attrgetter(*_SILENT_FIELDS)
_SILENT: Final = _SILENT_OF(Step(name="step"))
_SAID_OF: Final = operator.attrgetter(*_SILENT_FIELDS, "function", "timeout", "retry")
_SEEN: Final = ("state", "outputs")
"""What a condition sees of a step."""


class Steps:
    """The steps of one spec, looked at one by one and then as a graph."""

    def __init__(self, spec: Workflow, stagers: Stagers) -> None:
        self._spec = spec
        self._stagers = stagers
        self._parameters = {one.name: one for one in spec.parameters}
        given = ((one.name, spec.arguments.get(one.name, one.default)) for one in spec.parameters)
        self._values = {name: value for name, value in given if value is not None}
        """Of parameters, as far as they are known."""
        self._by_name: Mapping[str, Step] = {step.name: step for step in spec.steps}
        self._nests = tuple(f"{step.name}-" for step in spec.steps if step.template is not None)
        """How the names of steps begin that templates bring: whether they are there is `nesting`'s to say."""

    def _is_known(self, name: str) -> bool:
        return name in self._by_name or name.startswith(self._nests)

    def faults(self) -> Iterator[Fault]:
        """All of them."""
        steps, exits = self._spec.steps, self._spec.on_exit
        if exits is not None:
            yield from self._exit_faults(exits)
        if len(self._by_name) < len(steps) or (exits is not None and exits.name in self._by_name):
            names = Counter(step.name for step in (steps if exits is None else [*steps, exits]))
            yield from (Fault("spec.steps", f"{name!r} is the name of {n} steps") for name, n in names.items() if n > 1)
        broken = False
        needs: dict[str, Sequence[str]] = {step.name: step.needs for step in steps}
        for place in self._others():
            step = steps[place]
            given = graph.results_of(step)
            needs[step.name] = graph.needs_of(step, given)
            for fault in self._all_faults(f"spec.steps[{place}]", step, given):
                broken = True
                yield fault
        for fault in self._all_faults("spec.onExit", exits, graph.results_of(exits)) if exits is not None else ():
            broken = True
            yield fault
        if not broken:
            cycle = graph.cycle(needs)
            if cycle:
                yield Fault("spec.steps", f"they wait for one another: {' → '.join(cycle)}")

    def _others(self) -> list[int]:
        """The places of steps that must be looked at one by one: all but functions with arguments of their own.

        Of 10^5 steps nearly all are such functions, and these are looked at together. When something is wrong with any
        of them, no step is left out here.
        """
        steps = self._spec.steps
        silent: list[bool] = []
        before: object = None
        is_silent = False
        for step in steps:
            if (said := _SAID_OF(step)) != before:  # nearly all say the same as the one before them
                before, is_silent = said, _is_silent(step)
            silent.append(is_silent)
        plain = [step.arguments for step in itertools.compress(steps, silent)]
        if not is_all_own(plain):
            silent = [is_silent and is_all_own(step.arguments) for step, is_silent in zip(steps, silent, strict=True)]
        if not self._are_sound(list(itertools.compress(steps, silent))):
            return list(range(len(steps)))
        return [place for place, is_silent in enumerate(silent) if not is_silent]

    def _are_sound(self, plain: Sequence[Step]) -> bool:
        """Whether these can have arguments of such names, and wait for what they need."""
        needs = [step.needs for step in plain]
        return (
            all(map(str.isidentifier, set(itertools.chain.from_iterable(step.arguments for step in plain))))
            and all(map(self._by_name.__contains__, itertools.chain.from_iterable(needs)))
            and not any(len(own) > 1 and len(set(own)) < len(own) for own in needs)
            and not any(step.name in step.needs for step in plain)
        )

    def _all_faults(self, path: str, step: Step, given: Sequence[str]) -> Iterator[Fault]:
        """`given`: the steps whose results it is given."""
        yield from self._step_faults(path, step, given)
        if graph.refers(step):
            yield from self._reference_faults(path, step)

    def _exit_faults(self, step: Step) -> Iterator[Fault]:
        if step.needs:
            yield Fault("spec.onExit.needs", "it waits for all other steps; leave this out")
        if step.trigger is not Rule.ALL_SUCCESS:
            yield Fault("spec.onExit.trigger", "it always runs; leave this out")
        if step.sweep is not None:
            yield Fault("spec.onExit.sweep", "an exit step runs once")
        if step.cache:
            yield Fault("spec.onExit.cache", "an exit step always runs")
        if step.template is not None:
            yield Fault("spec.onExit.template", "an exit step is one step")

    def _step_faults(self, path: str, step: Step, given: Sequence[str]) -> Iterator[Fault]:
        """`given`: the steps whose results it is given."""
        yield from kind_faults(path, step)
        if step.template is not None:
            yield from template_step_faults(path, step)
        if step.arguments:
            yield from file_faults(step.arguments, f"{path}.arguments", self._stagers)
        if step.resources != _NO_RESOURCES or step.mpi is not None:
            yield from amount_faults(path, step)
        if step.timeout is not None and not seconds(step.timeout):
            yield Fault(f"{path}.timeout", f"{step.timeout!r} is no time at all; leave it out for none")
        if not step.retry.limit and step.retry != _NO_RETRY:
            yield Fault(f"{path}.retry.limit", "is 0, so nothing is tried again; say how often, or leave retry out")
        if step.needs:
            yield from self._need_faults(path, step)
        if step.sweep is not None:
            yield from sweep_faults(f"{path}.sweep", step.sweep)
            if step.outputs:
                yield Fault(f"{path}.outputs", "a sweep has many results; let a step behind it declare what it found")
        if step.when:
            yield from self._condition_faults(path, step)
        if step.trigger is not Rule.ALL_SUCCESS:
            yield from self._trigger_faults(path, step, given)
        if step.cache or step.cache_version:
            yield from self._cache_faults(path, step, given)

    def _need_faults(self, path: str, step: Step) -> Iterator[Fault]:
        for place, name in enumerate(step.needs):
            if name == step.name:
                yield Fault(f"{path}.needs[{place}]", "a step cannot wait for itself")
            elif not self._is_known(name):
                yield Fault(f"{path}.needs[{place}]", f"there is no step {name!r}{nearest(name, self._by_name)}")
            elif name in step.needs[:place]:
                yield Fault(f"{path}.needs[{place}]", f"{name!r} stands there before")

    def _reference_faults(self, path: str, step: Step) -> Iterator[Fault]:
        for where, text in graph.texts_of(step):
            for match in PATTERN.finditer(text):
                try:
                    reason = self._reference_fault(step, parse(match[1]), where.partition(".")[0].partition("[")[0])
                except BadReference as error:
                    reason = str(error)
                if reason:
                    yield Fault(f"{path}.{where}", reason)
            if "${{" in PATTERN.sub("", text):
                yield Fault(f"{path}.{where}", "a reference that begins with ${{ has no }}")

    def _reference_fault(self, step: Step, found: Reference, field: str) -> str:
        if found.root == "params":
            if found.path[0] not in self._parameters:
                return f"there is no parameter {found.path[0]!r}{nearest(found.path[0], self._parameters)}"
            is_list = field == "sweep" and step.sweep is not None and str(found) == source_of(step.sweep)
            return self._value_fault(found, is_list=is_list)
        if found.root == "item":
            if step.sweep is None or field == "sweep":
                return "there is an item only in what a sweep runs"
            return item_fault(step.sweep, found)
        if found.root == "arguments":
            if field in ("arguments", "sweep"):
                return "there are arguments only in the command and environment of a program"
            if found.path[0] not in step.arguments:
                return f"there is no argument {found.path[0]!r}{nearest(found.path[0], step.arguments)}"
        elif found.step == step.name:
            return "a step cannot have its own result"
        elif not self._is_known(found.step):
            return f"there is no step {found.step!r}{nearest(found.step, self._by_name)}"
        elif found.path[1] == "outputs" and found.path[2] not in (known := self._outputs(found.step, found.path[2])):
            return f"step {found.step!r} declares no output {found.path[2]!r}{nearest(found.path[2], known)}"
        return ""

    def _value_fault(self, found: Reference, *, is_list: bool) -> str:
        """Why a parameter cannot be used so; `is_list`: its items are wanted."""
        name, *path = found.path
        kind = self._parameters[name].type
        if is_list and not path and kind is not Kind.LIST:
            return f"parameter {name!r} is of type {kind}; a sweep runs over a list"
        if not path or name not in self._values:
            return ""
        try:
            value = walk(self._values, found.path, "params")
        except LookupError as error:
            return str(error)
        return f"{value!r:.60} is no list" if is_list and not isinstance(value, list) else ""

    def _outputs(self, name: str, wanted: str) -> list[str]:
        """What a step declares; that of a template, or of none, is another's matter."""
        step = self._by_name.get(name)
        return [wanted] if step is None or step.template is not None else step.outputs

    def _condition_faults(self, path: str, step: Step) -> Iterator[Fault]:
        if reason := expressions.fault(step.when):
            yield Fault(f"{path}.when", reason.removeprefix("condition: "))
            return
        for name in expressions.steps_in(step.when):
            if name == step.name:
                yield Fault(f"{path}.when", "a step cannot see its own end")
            elif not self._is_known(name):
                yield Fault(f"{path}.when", f"there is no step {name!r}{nearest(name, self._by_name)}")
        for name in expressions.parameters_in(step.when):
            if name not in self._parameters:
                yield Fault(f"{path}.when", f"there is no parameter {name!r}{nearest(name, self._parameters)}")
        for name, output in expressions.outputs_in(step.when):
            known = self._outputs(name, output)
            if output not in known:
                yield Fault(f"{path}.when", f"step {name!r} declares no output {output!r}{nearest(output, known)}")
        yield from self._sight_faults(path, step)

    def _sight_faults(self, path: str, step: Step) -> Iterator[Fault]:
        """What a condition looks at of steps, and one that is known by now."""
        for name, part in expressions.parts_in(step.when):
            if part not in _SEEN:
                yield Fault(f"{path}.when", f"of step {name!r} it sees no {part!r}{nearest(part, _SEEN)}")
        for state in expressions.states_in(step.when):
            if state not in expressions.STATES:
                yield Fault(f"{path}.when", f"no step ends as {state!r}{nearest(state, expressions.STATES)}")
        waits_for_success = step.trigger is Rule.ALL_SUCCESS and step is not self._spec.on_exit
        if waits_for_success and expressions.never_holds_after_success(step.when):
            yield Fault(
                f"{path}.when",
                "never holds: with trigger AllSuccess it is judged when all have succeeded; say another trigger",
            )
        if "steps" not in step.when and self._values.keys() >= set(expressions.parameters_in(step.when)):
            found = expressions.holds(step.when, msgspec.json.encode(self._values), {})
            if isinstance(found, str):
                yield Fault(f"{path}.when", found.removeprefix("condition: "))

    def _trigger_faults(self, path: str, step: Step, given: Sequence[str]) -> Iterator[Fault]:
        if not graph.needs_of(step, given):
            yield Fault(f"{path}.trigger", f"{step.trigger} has nothing to wait for; name steps in needs")
        elif step.trigger in {Rule.ALL_FAILED, Rule.ALL_SKIPPED} and given:
            yield Fault(
                f"{path}.trigger", f"{step.trigger} never runs with the result of {given[0]!r}, which it refers to"
            )
        elif step.trigger is Rule.ALL_SKIPPED:
            for name in graph.needs_of(step, given):
                if name in self._by_name and not self._may_be_skipped(name):
                    yield Fault(f"{path}.trigger", f"{step.trigger} never runs: nothing could have {name!r} skipped")

    def _may_be_skipped(self, name: str) -> bool:
        """Whether a step, or one that it waits for, has what could skip it."""
        seen, left = {name}, [name]
        while left:
            step = self._by_name.get(left.pop())
            if step is None or step.when or step.template is not None or step.trigger in _SKIPS:
                return True
            more = [one for one in graph.needs_of(step, graph.results_of(step)) if one not in seen]
            seen.update(more)
            left += more
        return False

    def _cache_faults(self, path: str, step: Step, given: Sequence[str]) -> Iterator[Fault]:
        if not step.cache:
            if step.cache_version:
                yield Fault(f"{path}.cacheVersion", "counts for cached steps; say cache: true, or leave this out")
            return
        known = [name for name in given if name in self._by_name]
        for name in known:
            if not self._by_name[name].cache:
                yield Fault(f"{path}.cache", f"it is given the result of {name!r}; say cache: true there, too")
        if any(file.writes for _, file in files_in(step.arguments)):
            yield Fault(f"{path}.cache", "what is found writes no file, and this step has an output in its arguments")
        if known and step.trigger is not Rule.ALL_SUCCESS:
            yield Fault(f"{path}.cache", f"with {step.trigger} it may run without the results by which it is known")


def _is_silent(step: Step) -> bool:
    """Whether it is a function, and nothing is wrong with it, but maybe with its arguments and its needs."""
    return (
        _SILENT_OF(step) == _SILENT
        and step.function is not None
        and is_import_path(step.function)
        and (step.timeout is None or seconds(step.timeout) > 0)
        and (step.retry.limit > 0 or step.retry == _NO_RETRY)
    )
