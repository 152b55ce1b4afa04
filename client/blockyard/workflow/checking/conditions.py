"""What is wrong with a step's condition: its form, what it sees, and whether it can ever hold.

What CEL itself says of it is left to `blockyard.workflow.expressions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from blockyard.workflow import expressions
from blockyard.workflow.checking.names import Names
from blockyard.workflow.reading import Fault, nearest
from blockyard.workflow.spec import Rule, Step

_SEEN: Final = ("state", "outputs")
"""What a condition sees of a step."""


def condition_faults(path: str, step: Step, names: Names, *, is_exit: bool) -> Iterator[Fault]:
    """`is_exit`: it is the exit step, which waits for no one's success."""
    if reason := expressions.fault(step.when):
        yield Fault(f"{path}.when", reason.removeprefix("condition: "))
        return
    for name in expressions.steps_in(step.when):
        if name == step.name:
            yield Fault(f"{path}.when", "a step cannot see its own end")
        elif not names.has_step(name):
            yield Fault(f"{path}.when", f"there is no step {name!r}{nearest(name, names.steps)}")
    for name in expressions.parameters_in(step.when):
        if name not in names.parameters:
            yield Fault(f"{path}.when", f"there is no parameter {name!r}{nearest(name, names.parameters)}")
    for name, output in expressions.outputs_in(step.when):
        known = names.outputs(name, output)
        if output not in known:
            yield Fault(f"{path}.when", f"step {name!r} declares no output {output!r}{nearest(output, known)}")
    yield from _sight_faults(path, step, names, is_exit=is_exit)


def _sight_faults(path: str, step: Step, names: Names, *, is_exit: bool) -> Iterator[Fault]:
    """What a condition looks at of steps, and one that is known by now."""
    for name, part in expressions.parts_in(step.when):
        if part not in _SEEN:
            yield Fault(f"{path}.when", f"of step {name!r} it sees no {part!r}{nearest(part, _SEEN)}")
    for state in expressions.states_in(step.when):
        if state not in expressions.STATES:
            yield Fault(f"{path}.when", f"no step ends as {state!r}{nearest(state, expressions.STATES)}")
    waits_for_success = step.trigger is Rule.ALL_SUCCESS and not is_exit
    if waits_for_success and expressions.never_holds_after_success(step.when):
        yield Fault(
            f"{path}.when",
            "never holds: with trigger AllSuccess it is judged when all have succeeded; say another trigger",
        )
    if "steps" not in step.when and names.values.keys() >= set(expressions.parameters_in(step.when)):
        found = expressions.holds(step.when, msgspec.json.encode(names.values), {})
        if isinstance(found, str):
            yield Fault(f"{path}.when", found.removeprefix("condition: "))
