"""What is wrong with the steps of one spec: nearly all of many are plain, and are looked at together; the others one by
one; and then all as a graph.

What is wrong with one by itself is left to `kinds` and `sweeps`, or to `templates`; with what it names to `references`
and `conditions`; with what it waits for to `needs`.
"""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from blockyard.kube.quantities import seconds
from blockyard.workflow import graph
from blockyard.workflow.addresses import Stagers, file_faults, is_all_own
from blockyard.workflow.checking.conditions import condition_faults
from blockyard.workflow.checking.kinds import amount_faults, cause_faults, is_import_path, kind_faults
from blockyard.workflow.checking.names import Names, pool_faults
from blockyard.workflow.checking.needs import cache_faults, need_faults, trigger_faults
from blockyard.workflow.checking.python_text import source_fault, takes
from blockyard.workflow.checking.references import reference_faults
from blockyard.workflow.checking.sweeps import sweep_faults
from blockyard.workflow.checking.templates import template_step_faults
from blockyard.workflow.places import is_in_order
from blockyard.workflow.reading import Fault
from blockyard.workflow.spec import Resources, Retry, Rule, Step, Workflow

_NO_RESOURCES: Final = Resources()
_NO_RETRY: Final = Retry()
_MOST_SECONDS: Final = 10**9
_SILENT_FIELDS: Final = (
    "binary", "mpi", "task", "template", "environment", "resources", "sweep", "when", "trigger", "cache",
    "cache_version",
)  # fmt: skip
"""Of a step, besides those that a plain one has, of which something may be wrong."""
_SILENT_OF: Final = operator.attrgetter(*_SILENT_FIELDS)
_SILENT: Final = _SILENT_OF(Step(name="step"))


class Steps:
    """The steps of one spec, looked at one by one and then as a graph."""

    def __init__(self, spec: Workflow, stagers: Stagers) -> None:
        self._spec = spec
        self._stagers = stagers
        self._names = Names(spec)

    def faults(self) -> Iterator[Fault]:
        """All of them."""
        steps, exits = self._spec.steps, self._spec.on_exit
        if exits is not None:
            yield from self._exit_faults(exits)
        places = self._names.places
        if len(places) < len(steps) or (exits is not None and exits.name in places):
            names = Counter(step.name for step in (steps if exits is None else [*steps, exits]))
            yield from (Fault("spec.steps", f"{name!r} is the name of {n} steps") for name, n in names.items() if n > 1)
        broken = False
        needs: list[Sequence[str]] = [step.needs for step in steps]
        is_sorted = len(places) == len(steps) and is_in_order(self._spec.links)
        others = self._others(is_sorted=is_sorted)
        for place in others:
            step = steps[place]
            given = graph.results_of(step)
            needs[place] = graph.needs_of(step, given)
            for fault in self._all_faults(f"spec.steps[{place}]", step, given):
                broken = True
                yield fault
        for fault in self._all_faults("spec.onExit", exits, graph.results_of(exits)) if exits is not None else ():
            broken = True
            yield fault
        if not broken and (others or not is_sorted):
            cycle = graph.cycle({step.name: behind for step, behind in zip(steps, needs, strict=True)})
            if cycle:
                yield Fault("spec.steps", f"they wait for one another: {' → '.join(cycle)}")

    def _others(self, *, is_sorted: bool) -> list[int]:
        """The places of steps that must be looked at one by one: all but functions with arguments of their own.

        Of 10^5 steps nearly all are such functions, and these are looked at together. When something is wrong with any
        of them, no step is left out here. `is_sorted`: each stands behind all that it needs.
        """
        steps = self._spec.steps
        silent: list[bool] = []
        for run in self._spec.alike:
            silent += [_is_silent(run[0])] * len(run)
        plain = list(itertools.compress(steps, silent))
        if not is_all_own([step.arguments for step in plain]):
            silent = [is_silent and is_all_own(step.arguments) for step, is_silent in zip(steps, silent, strict=True)]
            plain = list(itertools.compress(steps, silent))
        if not self._are_sound(plain, is_sorted=is_sorted):
            return list(range(len(steps)))
        return [place for place, is_silent in enumerate(silent) if not is_silent]

    def _are_sound(self, plain: Sequence[Step], *, is_sorted: bool) -> bool:
        """Whether these can have arguments of such names, and wait for what they need."""
        needs = [step.needs for step in plain]
        said = {(step.source, (*step.arguments,)) for step in plain}
        return (
            all(map(str.isidentifier, itertools.chain.from_iterable(given for _, given in said)))
            and all(takes(text, given) for text, given in said if isinstance(text, str))
            and (is_sorted or all(map(self._names.places.__contains__, itertools.chain.from_iterable(needs))))
            and not any(len(own) > 1 and len(set(own)) < len(own) for own in needs)
            and (is_sorted or not any(step.name in step.needs for step in plain))
        )

    def _all_faults(self, path: str, step: Step, given: Sequence[str]) -> Iterator[Fault]:
        """`given`: the steps whose results it is given."""
        yield from self._step_faults(path, step, given)
        if graph.refers(step):
            yield from reference_faults(path, step, self._names)

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
        yield from pool_faults(f"{path}.pool", step.pool or "default")
        if step.template is not None:
            yield from template_step_faults(path, step)
        if step.arguments:
            yield from file_faults(step.arguments, f"{path}.arguments", self._stagers)
        if step.resources != _NO_RESOURCES or step.mpi is not None:
            yield from amount_faults(path, step)
        if step.timeout is not None:
            yield from _span_faults(f"{path}.timeout", step.timeout, or_none=False)
        if step.retry != _NO_RETRY:
            yield from _retry_faults(f"{path}.retry", step.retry)
        if step.needs:
            yield from need_faults(path, step, self._names)
        if step.sweep is not None:
            yield from sweep_faults(f"{path}.sweep", step.sweep)
            if step.outputs:
                yield Fault(f"{path}.outputs", "a sweep has many results; let a step behind it declare what it found")
        if step.when:
            yield from condition_faults(path, step, self._names, is_exit=step is self._spec.on_exit)
        if step.trigger is not Rule.ALL_SUCCESS:
            yield from trigger_faults(path, step, given, self._names)
        if step.cache or step.cache_version:
            yield from cache_faults(path, step, given, self._names)


def _span_faults(path: str, span: str, *, or_none: bool) -> Iterator[Fault]:
    """`or_none`: it may be no time at all."""
    if seconds(span) > _MOST_SECONDS:
        yield Fault(path, f"{span!r} is too long; at most {_MOST_SECONDS} s are taken")
    elif not or_none and not seconds(span):
        yield Fault(path, f"{span!r} is no time at all; leave it out for none")


def _retry_faults(path: str, retry: Retry) -> Iterator[Fault]:
    if not retry.limit:
        yield Fault(f"{path}.limit", "is 0, so nothing is tried again; say how often, or leave retry out")
    yield from _span_faults(f"{path}.backoff", retry.backoff, or_none=True)
    yield from cause_faults(f"{path}.causes", retry.causes)


def _is_silent(step: Step) -> bool:
    """Whether it is a function, and nothing is wrong with it, but maybe with its arguments and its needs."""
    return (
        _SILENT_OF(step) == _SILENT
        and _is_function(step)
        and (not step.pool or not any(pool_faults("", step.pool)))
        and (step.timeout is None or not any(_span_faults("", step.timeout, or_none=False)))
        and (step.retry == _NO_RETRY or not any(_retry_faults("", step.retry)))
    )


def _is_function(step: Step) -> bool:
    """Whether it is one by its path, or by its text where that stands in it."""
    match step.function, step.source:
        case str() as path, None:
            return is_import_path(path)
        case None, str() as text:
            return not source_fault(text)
    return False
