"""What is wrong with a step among those that it needs: with its needs, its trigger, and being cached behind them.

Whether steps wait for one another in a circle is left to `steps`, which knows them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from blockyard.workflow import graph
from blockyard.workflow.addresses import files_in
from blockyard.workflow.checking.names import Names
from blockyard.workflow.reading import Fault, nearest
from blockyard.workflow.references import OPENING
from blockyard.workflow.spec import Rule, Step

_SKIPS: Final = {Rule.ANY_FAILED, Rule.ALL_FAILED, Rule.ALL_SKIPPED}
"""Triggers that skip a step though none of those that it needs was skipped."""


def need_faults(path: str, step: Step, names: Names) -> Iterator[Fault]:
    """What is wrong with the steps that it names in needs."""
    for place, name in enumerate(step.needs):
        if name == step.name:
            yield Fault(f"{path}.needs[{place}]", "a step cannot wait for itself")
        elif not names.has_step(name):
            yield Fault(f"{path}.needs[{place}]", f"there is no step {name!r}{nearest(name, names.steps)}")
        elif name in step.needs[:place]:
            yield Fault(f"{path}.needs[{place}]", f"{name!r} stands there before")


def trigger_faults(path: str, step: Step, given: Sequence[str], names: Names) -> Iterator[Fault]:
    """What is wrong with a trigger other than AllSuccess. `given`: the steps whose results it is given."""
    if not graph.needs_of(step, given):
        yield Fault(f"{path}.trigger", f"{step.trigger} has nothing to wait for; name steps in needs")
    elif step.trigger in {Rule.ALL_FAILED, Rule.ALL_SKIPPED} and given:
        yield Fault(f"{path}.trigger", f"{step.trigger} never runs with the result of {given[0]!r}, which it refers to")
    elif step.trigger is Rule.ALL_SKIPPED:
        for name in graph.needs_of(step, given):
            if name in names.steps and not _may_be_skipped(name, names):
                yield Fault(f"{path}.trigger", f"{step.trigger} never runs: nothing could have {name!r} skipped")


def _may_be_skipped(name: str, names: Names) -> bool:
    """Whether a step, or one that it waits for, has what could skip it."""
    seen, left = {name}, [name]
    while left:
        step = names.steps.get(left.pop())
        if step is None or step.when or step.template is not None or step.trigger in _SKIPS:
            return True
        more = [one for one in graph.needs_of(step, graph.results_of(step)) if one not in seen]
        seen.update(more)
        left += more
    return False


def cache_faults(path: str, step: Step, given: Sequence[str], names: Names) -> Iterator[Fault]:
    """What is wrong with being cached, or not, behind these. `given`: the steps whose results it is given."""
    if not step.cache:
        if step.cache_version:
            yield Fault(f"{path}.cacheVersion", "counts for cached steps; say cache: true, or leave this out")
        return
    if OPENING.decode() in step.cache_version:
        yield Fault(
            f"{path}.cacheVersion", "what stands in ${{ }} is not filled in here; an argument makes a difference, too"
        )
    known = [name for name in given if name in names.steps]
    for name in known:
        if not names.steps[name].cache:
            yield Fault(f"{path}.cache", f"it is given the result of {name!r}; say cache: true there, too")
    if any(file.writes for _, file in files_in(step.arguments)):
        yield Fault(f"{path}.cache", "what is found writes no file, and this step has an output in its arguments")
    if known and step.trigger is not Rule.ALL_SUCCESS:
        yield Fault(f"{path}.cache", f"with {step.trigger} it may run without the results by which it is known")
