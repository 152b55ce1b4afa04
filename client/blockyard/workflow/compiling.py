"""From a workflow that is in order to the tasks of its run: one for each step, numbered in the run's own session.

Everything follows from the spec and the run's name, so that whoever compiles it again gets the same tasks.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from blockyard.errors import ConfigError
from blockyard.ids import hosted_session, task_id
from blockyard.kube.quantities import amount, seconds
from blockyard.memo_digest import digest
from blockyard.wire.hosted import RunIs, StartRun, StepMark
from blockyard.wire.records import Body, Condition, Function, Group, TaskSpec, Trigger
from blockyard.workflow import graph
from blockyard.workflow.addresses import is_all_own_text
from blockyard.workflow.places import mapped
from blockyard.workflow.plans import Code, Plan, packed_arguments, packed_plans, runner
from blockyard.workflow.references import OPENING, Reference, as_text, filled, walk
from blockyard.workflow.sources import text_of
from blockyard.workflow.spec import Concurrency, Rule, Step, Workflow

_TRIGGERS: Final = {
    Rule.ALL_SUCCESS: Trigger.ALL_SUCCESS,
    Rule.ANY_SUCCESS: Trigger.ANY_SUCCESS,
    Rule.ANY_FAILED: Trigger.ANY_FAILED,
    Rule.ALL_FAILED: Trigger.ALL_FAILED,
    Rule.NONE_FAILED: Trigger.NONE_FAILED,
    Rule.NONE_FAILED_ANY_SUCCESS: Trigger.NONE_FAILED_ANY_SUCCESS,
    Rule.ALL_SKIPPED: Trigger.ALL_SKIPPED,
    Rule.NONE_SKIPPED: Trigger.NONE_SKIPPED,
    Rule.ALWAYS: Trigger.ALWAYS,
}
_OF_KIND: Final = operator.attrgetter(
    "function", "source", "pool", "priority", "retry", "timeout", "resources", "mpi", "idempotent", "cache", "trigger"
)
"""What of a step decides of which kind it is, besides what it waits for."""
_OUTPUTS_OF: Final = operator.attrgetter("outputs")
_PARAMS: Final = frozenset({"params"})
_NO_TASK: Final = -1
_encode = msgspec.json.encode
_encode_lines = msgspec.json.Encoder().encode_lines
_ordered = msgspec.json.Encoder(order="deterministic")

QueueOf = Callable[[str], str]
"""The interchange's name of a pool that a workflow names."""
ContentOf = Callable[[str], bytes]
"""A digest of the source of a module of the user's, for cached steps."""


def unknown_content(module: str) -> bytes:
    """For who does not have the user's modules: a cached step's function is then known by its name alone."""
    return b""


def compile_run(
    spec: Workflow,
    run: str,
    *,
    queue_of: QueueOf = str,
    content_of: ContentOf = unknown_content,
    done: Mapping[str, int] | None = None,
    first: int = 0,
) -> StartRun:
    """The order that starts this run. The spec has passed `checking`, and has no template left to be taken.

    `done` and `first` run it again: steps that are not to be repeated, with their tasks, and the number of the first
    new one.
    """
    return _Compiler(spec, run, queue_of, content_of, dict(done or {}), first).order(again=done is not None)


def compile_again(
    spec: Workflow, seen: RunIs, *, queue_of: QueueOf = str, content_of: ContentOf = unknown_content
) -> StartRun | None:
    """The order that runs again what has not succeeded of a run, and its exit step; None when all has.

    `seen`: how it stands, with all steps that have succeeded.
    """
    done = {one.name: one.task for one in seen.steps if one.state == "Succeeded"}
    if spec.on_exit is not None:
        done.pop(spec.on_exit.name, None)
    if len(done) == len(spec.steps):
        return None
    run, first = seen.line.run, seen.line.next_number
    return compile_run(spec, run, queue_of=queue_of, content_of=content_of, done=done, first=first)


def parameters_of(spec: Workflow) -> dict[str, Any]:
    """Parameter to value."""
    return {one.name: spec.arguments.get(one.name, one.default) for one in spec.parameters}


class _Compiler:
    def __init__(
        self, spec: Workflow, run: str, queue_of: QueueOf, content_of: ContentOf, done: dict[str, int], first: int
    ) -> None:
        self._spec = spec
        self._content_of = content_of
        self._memos: dict[str, bytes] = {}
        """Of cached steps."""
        self._run = run
        self._queue_of = queue_of
        self._session = hosted_session(run)
        self._parameters = parameters_of(spec)
        self._encoded = msgspec.json.encode(self._parameters)
        self._code = [Code(one.file, one.sha256.lower()) for one in spec.code]
        self._functions: dict[bytes, Function] = {}
        """What runs the steps, by identifier."""
        self._runner = runner()
        self._done = done
        self._next = first
        self._groups: list[Group] = []
        self._specs: dict[bytes, TaskSpec] = {}
        """By kind of steps."""
        self._given: dict[str, list[str]] = {}
        """By step that is given any results, those whose they are."""

    def order(self, *, again: bool) -> StartRun:
        spec = self._spec
        steps = spec.steps
        digest, refers = _looked_through(without_orders(spec), spec.alike)
        if refers:  # else no step is given any result, and needs no look
            self._given = {step.name: given for step in steps if (given := graph.results_of(step))}
        place, needs, links = spec.places, [step.needs for step in steps], spec.links
        if self._given or any(run[0].when for run in spec.alike):  # else they need what they say, and no more
            needs = [graph.needs_of(step, self._given_to(step.name)) for step in steps]
            links = mapped(needs, place.__getitem__)
        kinds = self._kinds(spec.alike, needs)
        tasks = [self._done.get(name, _NO_TASK) for name in place] if self._done else [_NO_TASK] * len(steps)
        for places in graph.batches(links, kinds):
            batch = [steps[number] for number in places]
            self._memos |= {step.name: self._memo(step) for step in batch if step.cache}
            self._add(kinds[places[0]], [number for number in places if tasks[number] < 0], steps, links, tasks)
        decide = [True] * len(steps)
        for needed in itertools.chain.from_iterable(links):
            decide[needed] = False
        marks = list(map(StepMark, place, tasks, decide))
        if spec.on_exit is not None:
            marks.append(self._exit(spec.on_exit, steps, place, tasks))
        functions = list(self._functions.values())
        return StartRun(self._run, digest, functions, self._groups, marks, spec.suspend, again)

    def _exit(self, step: Step, steps: Sequence[Step], place: Mapping[str, int], tasks: list[int]) -> StepMark:
        """Add the exit step, which is behind all others."""
        if given := graph.results_of(step):
            self._given[step.name] = given
        task = self._done.get(step.name, _NO_TASK)
        if task < 0:
            needs = [*given, *(name for name in place if name not in given)]
            links = [*([] for _ in steps), [place[name] for name in needs]]
            own = len(steps)
            tasks.append(_NO_TASK)
            self._add(self._kind(step, Rule.ALWAYS, needs), [own], [*steps, step], links, tasks)
            task = tasks[own]
        return StepMark(step.name, task, decides=True, is_exit=True)

    def _add(
        self, kind: bytes, places: Sequence[int], steps: Sequence[Step], links: Sequence[list[int]], tasks: list[int]
    ) -> None:
        """Add the steps at these places, all of one kind, as one group; `links`: the places of those they wait for."""
        if not places:
            return
        first = self._next
        self._next += len(places)
        for number, task in zip(places, itertools.count(task_id(self._session, first))):
            tasks[number] = task
        behind = mapped([links[number] for number in places], tasks.__getitem__)
        own = [steps[number] for number in places]
        cached = [step.name for step in own] if own[0].cache else []
        memos = [[self._memos[one] for one in (name, *self._given_to(name))] for name in cached]
        function, bodies = self._packed(own)
        spec = msgspec.structs.replace(self._specs[kind], function=self._functions.setdefault(function.id, function).id)
        self._groups.append(Group(spec, first, bodies, behind if any(behind) else [], memos=memos))

    def _packed(self, steps: Sequence[Step]) -> tuple[Function, list[Body]]:
        """Steps of one kind as what runs them, and what that is given for each.

        Functions with arguments of their own, as most steps of large workflows are, have all else in common.
        """
        first, function, source = steps[0], steps[0].function or "", text_of(steps[0])
        is_call = (function or source) and first.sweep is None and first.name not in self._given
        if is_call and not any(map(_OUTPUTS_OF, steps)):
            encoded = _encode_lines([step.arguments for step in steps])
            if is_all_own_text(encoded):
                shared = Plan(step="", run="", function=function, source=source, code=self._code)
                return runner(shared), [*packed_arguments(encoded.splitlines())]
        return self._runner, [*packed_plans([self._plan(step) for step in steps])]

    def _kinds(self, runs: Iterable[Sequence[Step]], needs: Sequence[Sequence[str]]) -> list[bytes]:
        """Of each. `runs`: steps that say the same one after the other, as in large workflows nearly all do."""
        kinds: list[bytes] = []
        for run in runs:
            first = run[0]
            has_own = bool(first.when) or first.sweep is not None
            if not (has_own or self._given):
                kinds += [self._kind(first, first.trigger, needs[len(kinds)])] * len(run)
                continue
            by_count: dict[int, bytes] = {}
            for step in run:
                count = len(self._given_to(step.name))
                if has_own or count not in by_count:
                    by_count[count] = self._kind(step, step.trigger, needs[len(kinds)])
                kinds.append(by_count[count])
        return kinds

    def _given_to(self, step: str) -> Sequence[str]:
        """Those whose results it is given."""
        return self._given.get(step, ())

    def _kind(self, step: Step, trigger: Rule, needs: Sequence[str]) -> bytes:
        """What steps have in common that become one group; the spec of their tasks is made with the first of them."""
        is_exit, condition = step is self._spec.on_exit, (step.when, needs) if step.when else ()
        kind = _encode((_OF_KIND(step), trigger, _own_name(step), condition, is_exit, len(self._given_to(step.name))))
        if kind not in self._specs:
            self._specs[kind] = self._task_spec(step, needs, _TRIGGERS[trigger])
        return kind

    def _memo(self, step: Step) -> bytes:
        """What its result is known by: what it does, and with the results of which steps; nothing of this run."""
        plan = msgspec.structs.replace(self._plan(step), step="", run="")
        inputs = [self._memos[name] for name in plan.inputs]
        content = self._content_of(step.function.partition(":")[0]) if step.function else b""
        return digest("step", _ordered.encode(plan), content, step.cache_version.encode(), *inputs)

    def _task_spec(self, step: Step, needs: Sequence[str], trigger: Trigger) -> TaskSpec:
        deadline = 0.0 if step is self._spec.on_exit else float(self._spec.active_deadline_seconds or 0)
        resources, mpi = step.resources, step.mpi
        return TaskSpec(
            self._runner.id,
            self._queue_of(step.pool or self._spec.pool),
            _own_name(step),
            step.priority,
            step.retry.limit,
            seconds(step.retry.backoff),
            tuple(step.retry.causes),
            seconds(step.timeout) if step.timeout else 0.0,
            deadline,
            float(amount(resources.cpu))
            if resources.cpu is not None
            else float(mpi.most_ranks if mpi is not None else 0),
            math.ceil(amount(resources.memory)) if resources.memory is not None else 0,
            resources.accelerators,
            *((mpi.spread, mpi.ranks, mpi.ranks_per_node) if mpi is not None and mpi.spread > 1 else (0, 0, 0)),
            idempotent=step.idempotent,
            trigger=trigger,
            condition=Condition(step.when, list(needs), self._encoded) if step.when else None,
            uses=len(self._given_to(step.name)),
        )

    def _plan(self, step: Step) -> Plan:
        plan = Plan(
            step=step.name,
            run=self._run,
            function=step.function or "",
            source=text_of(step),
            binary=step.mpi.command if step.mpi is not None else step.binary or [],
            task=step.task or "",
            ranks=step.mpi.ranks if step.mpi is not None else 0,
            arguments=step.arguments,
            environment=step.environment,
            outputs=step.outputs,
            inputs=list(self._given_to(step.name)),
            code=self._code if step.function or step.source else [],
            sweep=msgspec.to_builtins(step.sweep) if step.sweep is not None else {},
        )
        if not self._parameters or not graph.refers(step):
            return plan
        texts = {name: getattr(plan, name) for name in ("arguments", "binary", "environment", "sweep")}
        found = filled(texts, self._parameter, _PARAMS)
        found["binary"] = [as_text(one) for one in found["binary"]]
        found["environment"] = {name: as_text(one) for name, one in found["environment"].items()}
        return msgspec.structs.replace(plan, **found)

    def _parameter(self, reference: Reference) -> Any:
        try:
            return walk(self._parameters, reference.path, "params")
        except LookupError as error:
            raise ConfigError(f"${{{{ {reference} }}}}: {error}") from error


def _looked_through(spec: Workflow, runs: Iterable[Sequence[Step]]) -> tuple[bytes, bool]:
    """A digest of all that a spec says, and whether any reference may be in it.

    `runs`: its steps. What those of one say alike is looked at once, for it may be a long source.
    """
    digest = hashlib.blake2b(_encode(msgspec.structs.replace(spec, steps=[])), digest_size=16)
    refers = spec.on_exit is not None and OPENING in _encode(spec.on_exit)
    for alike in runs:
        own = [[step.name for step in alike], [step.needs for step in alike], [step.arguments for step in alike]]
        for part in (_encode(alike[0]), _encode(own)):
            digest.update(part)
            refers = refers or OPENING in part
    return digest.digest(), refers


def _own_name(step: Step) -> str:
    """Parts of a sweep have the name that its spec says; the interchange knows the others' names by their marks."""
    return step.name if step.sweep is not None else ""


def without_orders(spec: Workflow) -> Workflow:
    """A spec without what may change while it runs."""
    return msgspec.structs.replace(
        spec,
        suspend=False,
        suspend_running=False,
        cancel=False,
        attempt=1,
        ttl_seconds_after_finished=None,
        concurrency_policy=Concurrency.ALLOW,
        concurrency_key="",
    )
