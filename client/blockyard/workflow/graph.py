"""Which steps wait for which: what they say, and what they refer to."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

from blockyard.workflow import expressions
from blockyard.workflow.places import is_in_order, mapped
from blockyard.workflow.references import OPENING, PATTERN, BadReference, Reference, may_hold, parse, texts
from blockyard.workflow.spec import Step

K = TypeVar("K", bound=Hashable)


def refers(step: Step) -> bool:
    """Whether any of its texts may have a reference in it."""
    if step.binary is None and step.mpi is None and step.sweep is None and not step.environment:
        return bool(step.arguments) and may_hold(OPENING, step.arguments)
    return may_hold(OPENING, (step.arguments, step.binary, step.environment, step.mpi, step.sweep))


def texts_of(step: Step) -> Iterator[tuple[str, str]]:
    """All texts of a step that may have references in them, with their paths below it."""
    for field, value in (("arguments", step.arguments), ("binary", step.binary), ("environment", step.environment)):
        if value:  # of 10^5 steps, most have but one of these
            yield from texts(value, field)
    if step.mpi is not None:
        yield from texts(step.mpi.command, "mpi.command")
    if step.sweep is not None:
        sweep = step.sweep
        yield from texts(sweep.list_ or [], "sweep.list")
        yield from texts(sweep.product or {}, "sweep.product")
        yield from texts(sweep.zip or {}, "sweep.zip")
        yield from texts(sweep.from_ or "", "sweep.from")


def references_of(step: Step) -> list[Reference]:
    """The references of a step; those that cannot be read are `checking`'s matter."""
    found = []
    for _, text in texts_of(step):
        for match in PATTERN.finditer(text) if "${{" in text else ():
            try:
                found.append(parse(match[1]))
            except BadReference:
                continue
    return found


def results_of(step: Step) -> list[str]:
    """The steps whose results a step is given, in order of first appearance."""
    if not refers(step):
        return []
    return list(dict.fromkeys(one.step for one in references_of(step) if one.root == "steps"))


def needs_of(step: Step, given: Sequence[str]) -> list[str]:
    """All steps that a step waits for. `given`: its `results_of`, which come first."""
    if not given and not step.when:
        return step.needs
    seen = expressions.steps_in(step.when) if step.when else []
    return list(dict.fromkeys([*given, *step.needs, *seen]))


def cycle(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The names along a cycle, the first one at its end again; empty when there is none."""
    places = dict(zip(needs, itertools.count()))
    if is_in_order(mapped(list(needs.values()), lambda name: places.get(name, len(places)))):
        return []
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, place = stack.pop()
            if place == 0:
                if name in on_path:
                    return [*path[path.index(name) :], name]
                if name in done:
                    continue
                path.append(name)
                on_path.add(name)
            following = needs.get(name, ())
            if place < len(following):
                stack.append((name, place + 1))
                stack.append((following[place], 0))
            else:
                done.add(name)
                on_path.discard(path.pop())
    return []


def batches(needs: Sequence[Sequence[int]], kinds: Sequence[K]) -> Iterator[Sequence[int]]:
    """The places of steps, each after all that it needs, in lists of one kind: each as long as it can be made at its
    turn.

    There must be no cycle. Otherwise they keep their order.
    """
    if len(set(kinds)) == 1 and is_in_order(needs):
        yield range(len(needs))
        return
    left = list(map(len, needs))
    followers: list[list[int]] = [[] for _ in needs]
    for place, behind in enumerate(needs):
        for other in behind:
            followers[other].append(place)
    ready: dict[K, list[int]] = {}
    turns: deque[K] = deque()

    def make_ready(place: int) -> None:
        kind = kinds[place]
        if kind not in ready:
            ready[kind] = []
            turns.append(kind)
        ready[kind].append(place)

    for place, count in enumerate(left):
        if not count:
            make_ready(place)
    while turns:
        batch = ready[turns[0]]
        for place in batch:  # which grows meanwhile
            for other in followers[place]:
                left[other] -= 1
                if not left[other]:
                    make_ready(other)
        del ready[turns.popleft()]
        yield batch
