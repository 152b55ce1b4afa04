"""Everything that is wrong with a workflow, before anything runs: all faults at once, each with path and reason.

Pure, and the same for `blockyard lint`, `blockyard run`, Python and the operator. What only a cluster or an interchange
knows (whether a pool exists, whether a node has as many cores) is theirs to say.
"""

from __future__ import annotations

import ast
import functools
import itertools
import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from blockyard.kube.kinds import OBJECT_NAME
from blockyard.kube.quantities import amount, seconds
from blockyard.workflow import expressions, graph
from blockyard.workflow.addresses import Stagers, file_faults, files_in, is_all_own, no_others
from blockyard.workflow.reading import Fault, nearest, read
from blockyard.workflow.references import PATTERN, BadReference, Reference, parse, walk
from blockyard.workflow.schedules import BadSchedule, Schedule
from blockyard.workflow.spec import (
    API_VERSION,
    CRON_KIND,
    MOST_ITEMS,
    MOST_LOCAL_STEPS,
    MOST_STEPS,
    RUN_KIND,
    TEMPLATE_KIND,
    Concurrency,
    Cron,
    Document,
    Kind,
    Metadata,
    Parameter,
    Record,
    Resources,
    Retry,
    Rule,
    Source,
    Step,
    Sweep,
    Workflow,
)

FUNCTION: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_NO_RESOURCES: Final = Resources()
_NO_RETRY: Final = Retry()
KINDS: Final = ("function", "source", "binary", "mpi", "task", "template")
_OF_TEMPLATES: Final = {"name", "arguments", "needs", "trigger", "when", "pool"}
"""What a step that is a template may say; the rest is its steps' to say."""
_OWN: Final = (
    "suspend", "suspendRunning", "cancel", "attempt", "ttlSecondsAfterFinished", "concurrencyPolicy", "concurrencyKey",
    "pool", "activeDeadlineSeconds",
)  # fmt: skip
"""Of a run with a template these fields are its own, where it says them."""
_OF_RUNS: Final = {"suspend": False, "suspendRunning": False, "cancel": False, "attempt": 1, "concurrencyKey": ""}
"""What a template must not say, with what is silence: it is about one run. A schema's default cannot be told from a run
that says so, and one of a suspended template could never go on."""
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
_SWEEPS: Final = ("list_", "product", "zip", "range", "from_")
_PYTHON: Final = {
    Kind.STRING: (str,),
    Kind.INTEGER: (int,),
    Kind.NUMBER: (int, float),
    Kind.BOOLEAN: (bool,),
    Kind.LIST: (list,),
    Kind.OBJECT: (dict,),
}


def check_document(document: object, stagers: Stagers = no_others) -> tuple[Document | None, list[Fault]]:
    """An object of a file, and all that is wrong with it. `stagers`: who stages files besides ourselves."""
    if not isinstance(document, dict):
        return None, [Fault("", f"expected an object with apiVersion, kind, metadata and spec, found {document!r:.60}")]
    faults: list[Fault] = []
    if document.get("apiVersion") != API_VERSION:
        faults.append(Fault("apiVersion", f"{_found(document, 'apiVersion')}; expected {API_VERSION!r}"))
    kinds = (RUN_KIND, TEMPLATE_KIND, CRON_KIND)
    if document.get("kind") not in kinds:
        faults.append(Fault("kind", f"{_found(document, 'kind')}{nearest(str(document.get('kind')), kinds)}"))
    top = ("apiVersion", "kind", "metadata", "spec", "status")
    faults += [Fault(str(key), f"unknown field{nearest(str(key), top)}") for key in document if key not in top]
    metadata = document.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    name = names.get("name") or names.get("generateName")
    if not isinstance(name, str) or not re.fullmatch(OBJECT_NAME, name.rstrip("-")) or len(name) > 50:
        found = f"is {name!r}" if name else "is required"
        faults.append(Fault("metadata.name", f"{found}; a name has up to 50 lower-case letters, digits, '-' and '.'"))
    if document.get("kind") == CRON_KIND:
        cron, own = check_cron(document.get("spec"), stagers)
        spec = cron.run_template.spec if cron is not None else None
    else:
        needs_arguments = document.get("kind") != TEMPLATE_KIND
        spec, own = check_spec(document.get("spec"), stagers, needs_arguments=needs_arguments)
        if spec is not None and document.get("kind") == RUN_KIND:
            own = concurrency_faults(spec, owned=bool(names.get("ownerReferences")))
    faults += own
    if faults or spec is None:
        return None, faults
    return Document(kind=document["kind"], metadata=msgspec.convert(metadata, Metadata), spec=spec), []


def _found(document: dict[object, object], key: str) -> str:
    return f"is {document[key]!r}" if key in document else "is required"


def check_spec(
    value: object, stagers: Stagers = no_others, *, needs_arguments: bool = True
) -> tuple[Workflow | None, list[Fault]]:
    """A spec, and all that is wrong with it. `needs_arguments`: every parameter must have a value."""
    faults: list[Fault] = []
    if value is None:
        return None, [Fault("spec", "is required")]
    if isinstance(value, dict) and len(value.get("steps") or ()) > MOST_STEPS:  # no fault of a file
        steps = value["steps"]
        spec = read(value | {"steps": []}, Workflow, "spec", faults)
        read_steps = _read_many(steps, faults)
        spec = msgspec.structs.replace(spec, steps=read_steps) if spec is not None and not faults else None
    else:
        spec = read(value, Workflow, "spec", faults)
    if spec is None:
        return None, sorted(faults)
    found = faults_of(spec, stagers, needs_arguments=needs_arguments)
    if not needs_arguments:
        found += _runs_own(msgspec.to_builtins(spec), "spec.")
    found.sort()
    return (None if found else spec), found


def check_cron(value: object, stagers: Stagers = no_others) -> tuple[Cron | None, list[Fault]]:
    """The spec of a CronWorkflowRun, and all that is wrong with it; whether a template is there is its runs' to say."""
    if value is None:
        return None, [Fault("spec", "is required")]
    faults: list[Fault] = []
    cron = read(value, Cron, "spec", faults)
    if cron is None:
        return None, sorted(faults)
    try:
        Schedule(cron.schedule, cron.time_zone)
    except BadSchedule as error:
        faults.append(Fault(f"spec.{error.field}", error.reason))
    own = faults_of(cron.run_template.spec, stagers)
    faults += [Fault(f"spec.runTemplate.{one.path}", one.reason) for one in own]
    return (None if faults else cron), sorted(faults)


def concurrency_faults(spec: Workflow, *, owned: bool) -> list[Fault]:
    """A policy says something only of runs that are held against others: `owned`, of a template, or of one key."""
    if spec.concurrency_policy is Concurrency.ALLOW or owned or spec.concurrency_key or spec.template_ref is not None:
        return []
    return [Fault("spec.concurrencyPolicy", f"{spec.concurrency_policy} of which runs? Say concurrencyKey, too")]


def _read_many(steps: list[object], faults: list[Fault]) -> list[Step]:
    try:
        return msgspec.convert(steps, list[Step])
    except msgspec.ValidationError:
        found = [read(step, Step, f"spec.steps[{place}]", faults) for place, step in enumerate(steps)]
        return [step for step in found if step is not None]


def faults_of(spec: Workflow, stagers: Stagers = no_others, *, needs_arguments: bool = True) -> list[Fault]:
    """What is wrong with a spec whose fields have the right types."""
    if spec.template_ref is not None:
        said = _said(spec, Workflow())
        taken = [name for name in ("steps", "parameters", "onExit", "code") if name in said]
        return [Fault(f"spec.{name}", "comes from the template; leave it out, or templateRef") for name in taken]
    if not spec.steps:
        return [Fault("spec.steps", "is empty; a workflow has at least one step, or a templateRef")]
    if len(spec.steps) > MOST_LOCAL_STEPS:
        return [Fault("spec.steps", f"has {len(spec.steps)} steps, at most {MOST_LOCAL_STEPS} are taken; use a sweep")]
    return [
        *_parameter_faults(spec, needs_arguments=needs_arguments),
        *_code_faults(spec, stagers),
        *_Steps(spec, stagers).faults(),
    ]


def merged(
    spec: Workflow, templates: Mapping[str, Mapping[str, Any]], stagers: Stagers = no_others
) -> tuple[Workflow | None, list[Fault]]:
    """A spec with the steps of its template, and what is wrong with the two together. `templates`: name to spec."""
    name = spec.template_ref.name if spec.template_ref is not None else ""
    if name not in templates:
        return None, [Fault("spec.templateRef.name", f"there is no template {name!r}{nearest(name, templates)}")]
    own = msgspec.to_builtins(spec)
    taken = {name: own[name] for name in _said(spec, Workflow()) if name in _OWN}
    found = templates[name]
    if own := _runs_own(found, f"template {name!r}: "):
        return None, [Fault("spec.templateRef.name", str(one)) for one in own]
    arguments = {**found.get("arguments", {}), **spec.arguments}
    whole, faults = check_spec({**found, **taken, "arguments": arguments}, stagers)
    if whole is not None and whole.template_ref is not None:
        return None, [Fault("spec.templateRef.name", f"template {name!r} takes its steps from another; name that")]
    return whole, faults


def _runs_own(template: Mapping[str, Any], prefix: str) -> list[Fault]:
    """What a template says that is not its own to say."""
    said = [name for name, silence in _OF_RUNS.items() if template.get(name, silence) != silence]
    return [Fault(f"{prefix}{name}", "is each run's own to say; leave it out of the template") for name in said]


def _said(record: Record, silent: Record) -> list[str]:
    """Fields that say something else than those of `silent`: what an API server fills in says nothing."""
    fields = msgspec.structs.fields(type(record))
    return [one.encode_name for one in fields if getattr(record, one.name) != getattr(silent, one.name)]


# --- parameters


def _parameter_faults(spec: Workflow, *, needs_arguments: bool) -> Iterator[Fault]:
    known = {one.name: one for one in spec.parameters}
    for name, count in Counter(one.name for one in spec.parameters).items():
        if count > 1:
            yield Fault("spec.parameters", f"{name!r} stands there {count} times")
    for place, one in enumerate(spec.parameters):
        path = f"spec.parameters[{place}]"
        if one.default is not None and (reason := value_fault(one, one.default)):
            yield Fault(f"{path}.default", reason)
        for index, choice in enumerate(one.choices):
            if reason := value_fault(msgspec.structs.replace(one, choices=[]), choice):
                yield Fault(f"{path}.choices[{index}]", reason)
    for name, value in spec.arguments.items():
        if name not in known:
            yield Fault(f"spec.arguments.{name}", f"there is no such parameter{nearest(name, known)}")
        elif reason := value_fault(known[name], value):
            yield Fault(f"spec.arguments.{name}", reason)
    missing = [one.name for one in spec.parameters if one.default is None and one.name not in spec.arguments]
    if needs_arguments:
        for name in missing:
            yield Fault(f"spec.arguments.{name}", "is required: the parameter has no default")


def value_fault(parameter: Parameter, value: Any) -> str:
    """Why a value is none for this parameter; '' when it is one."""
    kinds = _PYTHON[parameter.type]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return f"{value!r:.60} is no {parameter.type}"
    if parameter.choices and value not in parameter.choices:
        return f"{value!r:.60} is none of {', '.join(map(repr, parameter.choices))}"
    return ""


# --- code


def _code_faults(spec: Workflow, stagers: Stagers) -> Iterator[Fault]:
    for place, one in enumerate(spec.code):
        path = f"spec.code[{place}]"
        name = one.file.partition("?")[0].rpartition("/")[2]
        if "://" not in one.file:
            yield Fault(f"{path}.file", f"{one.file!r} is no address; write file:///path, or another scheme's")
        elif not name.endswith((".whl", ".zip")):
            yield Fault(f"{path}.file", f"{name!r} is no wheel")
        elif name.endswith(".whl") and not name.endswith("-none-any.whl"):
            yield Fault(f"{path}.file", f"{name!r} holds compiled code; put that into the image of the workers")
        yield from file_faults({"file": one.file}, path, stagers)
    without = [place for place, one in enumerate(spec.code) if not one.sha256]
    if without and any(step.cache for step in spec.steps):
        yield Fault(f"spec.code[{without[0]}].sha256", "is required: results of steps with cache: true are known by it")


# --- steps


class _Steps:
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
        yield from _kind_faults(path, step)
        if step.template is not None:
            yield from _template_faults(path, step)
        if step.arguments:
            yield from file_faults(step.arguments, f"{path}.arguments", self._stagers)
        if step.resources != _NO_RESOURCES or step.mpi is not None:
            yield from _amount_faults(path, step)
        if step.timeout is not None and not seconds(step.timeout):
            yield Fault(f"{path}.timeout", f"{step.timeout!r} is no time at all; leave it out for none")
        if not step.retry.limit and step.retry != _NO_RETRY:
            yield Fault(f"{path}.retry.limit", "is 0, so nothing is tried again; say how often, or leave retry out")
        if step.needs:
            yield from self._need_faults(path, step)
        if step.sweep is not None:
            yield from _sweep_faults(f"{path}.sweep", step.sweep)
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
            is_list = field == "sweep" and step.sweep is not None and str(found) == _source_of(step.sweep)
            return self._value_fault(found, is_list=is_list)
        if found.root == "item":
            if step.sweep is None or field == "sweep":
                return "there is an item only in what a sweep runs"
            return _item_fault(step.sweep, found)
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


def _source_of(sweep: Sweep) -> str:
    """The reference that a sweep is over, '' for none."""
    match = PATTERN.fullmatch(sweep.from_ or "")
    return match[1].strip() if match is not None else ""


def _item_fault(sweep: Sweep, found: Reference) -> str:
    names = list(sweep.product or sweep.zip or ())
    if names and found.path and found.path[0] not in names:
        return f"items have no {found.path[0]!r}{nearest(found.path[0], names)}"
    if sweep.range is not None and found.path:
        return "items of a range are numbers; write ${{ item }}"
    return ""


def _kind_faults(path: str, step: Step) -> Iterator[Fault]:
    said = [name for name in KINDS if getattr(step, name) is not None]
    if len(said) != 1:
        found = " and ".join(said) or "none of them"
        yield Fault(path, f"has {found}; say exactly one of {', '.join(KINDS)}")
    if step.function is not None and not _is_import_path(step.function):
        yield Fault(f"{path}.function", f"{step.function!r} is no import path; write package.module:name")
    if step.source is not None:
        yield from _source_faults(f"{path}.source", step.source)
    for name in ("binary",) if step.binary is not None else ():
        if not step.binary or not step.binary[0].strip():
            yield Fault(f"{path}.{name}[0]", "names no program")
    if step.arguments and said and said[0] in ("binary", "mpi"):
        used = {one.path[0] for one in graph.references_of(step) if one.root == "arguments"}
        for name in step.arguments.keys() - used:
            yield Fault(f"{path}.arguments.{name}", f"stands in no word of its command: ${{{{ arguments.{name} }}}}")
    if step.environment and said and said[0] in ("function", "source"):
        yield Fault(f"{path}.environment", "is for programs; give a function arguments")
    for name in step.arguments if said and said[0] in ("function", "source") else ():
        if not str(name).isidentifier():
            yield Fault(f"{path}.arguments.{name}", "is no name of a function's argument")


@functools.lru_cache(maxsize=1024)
def _is_import_path(text: str) -> bool:
    return FUNCTION.fullmatch(text) is not None


def _is_silent(step: Step) -> bool:
    """Whether it is a function, and nothing is wrong with it, but maybe with its arguments and its needs."""
    return (
        _SILENT_OF(step) == _SILENT
        and step.function is not None
        and _is_import_path(step.function)
        and (step.timeout is None or seconds(step.timeout) > 0)
        and (step.retry.limit > 0 or step.retry == _NO_RETRY)
    )


def _template_faults(path: str, step: Step) -> Iterator[Fault]:
    for name in _said(step, Step(name=step.name, template=step.template)):
        if name not in _OF_TEMPLATES and name not in KINDS:
            yield Fault(f"{path}.{name}", "is its steps' to say; leave it out")


def _source_faults(path: str, source: str | Source) -> Iterator[Fault]:
    if isinstance(source, Source):
        if (source.inline is None) == (source.config_map is None):
            found = "neither" if source.inline is None else "both"
            yield Fault(path, f"has {found}; say exactly one of inline, configMap")
        if source.inline is None:
            return
        path, source = f"{path}.inline", source.inline
    if reason := source_fault(source):
        yield Fault(path, reason)


@functools.lru_cache(maxsize=1024)
def source_fault(source: str) -> str:
    """Why this is no Python that defines `main`; '' when it is."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"is no Python: {error}"
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return "" if "main" in names else f"defines no function main{nearest('main', names)}"


def _amount_faults(path: str, step: Step) -> Iterator[Fault]:
    for name, value in (("cpu", step.resources.cpu), ("memory", step.resources.memory)):
        if value is None:
            continue
        try:
            wrong = amount(value) <= 0
        except ValueError as error:
            yield Fault(f"{path}.resources.{name}", str(error))
        else:
            if wrong:
                yield Fault(f"{path}.resources.{name}", f"{value!r} is not more than nothing")
    if step.mpi is not None:
        if step.mpi.nodes and step.mpi.ranks_per_node and step.mpi.ranks > step.mpi.nodes * step.mpi.ranks_per_node:
            room = step.mpi.nodes * step.mpi.ranks_per_node
            yield Fault(f"{path}.mpi.ranks", f"{step.mpi.ranks} do not fit: nodes × ranksPerNode is {room}")
        if step.mpi.nodes > step.mpi.ranks:
            yield Fault(f"{path}.mpi.nodes", f"is {step.mpi.nodes}, more than there are ranks ({step.mpi.ranks})")
        for where, _ in files_in(step.arguments, f"{path}.arguments") if step.mpi.spread > 1 else ():
            yield Fault(
                where, f"is staged on one node, and the ranks are on {step.mpi.spread}; name a path that all see"
            )


def _sweep_faults(path: str, sweep: Sweep) -> Iterator[Fault]:
    said = [name for name in _SWEEPS if getattr(sweep, name) is not None]
    if len(said) != 1:
        found = " and ".join(name.rstrip("_") for name in said) or "none of them"
        yield Fault(path, f"has {found}; say exactly one of list, product, zip, range, from")
    if sweep.from_ is not None and not PATTERN.fullmatch(sweep.from_):
        yield Fault(f"{path}.from", f"{sweep.from_!r:.60} is no reference; write ${{{{ steps.NAME.result }}}}")
    for name in ("product", "zip"):
        columns = getattr(sweep, name)
        if columns is not None:
            yield from _column_faults(f"{path}.{name}", columns, name)


def _column_faults(path: str, columns: Mapping[str, Any], name: str) -> Iterator[Fault]:
    if not columns:
        yield Fault(path, "is empty; name at least one list")
    bad = [column for column, values in columns.items() if not isinstance(values, list) or not values]
    for column in bad:
        yield Fault(f"{path}.{column}", f"{columns[column]!r:.60} is no list of values")
    if bad:
        return
    sizes = {column: len(values) for column, values in columns.items()}
    if name == "zip" and len(set(sizes.values())) > 1:
        yield Fault(path, f"lists of different lengths: {', '.join(f'{key} has {n}' for key, n in sizes.items())}")
    if name == "product" and _product(sizes.values()) > MOST_ITEMS:
        yield Fault(path, f"{_product(sizes.values())} combinations, at most {MOST_ITEMS} are taken")


def _product(sizes: Iterable[int]) -> int:
    return functools.reduce(lambda left, right: left * right, sizes, 1)
