"""What is wrong with what a step refers to by ${{ }}: its form, and whether it is there.

Items are left to `sweeps`, conditions to `conditions`; whether steps wait for one another is left to `steps`.
"""

from __future__ import annotations

from collections.abc import Iterator

from blockyard.workflow import graph
from blockyard.workflow.checking.names import Names
from blockyard.workflow.checking.sweeps import item_fault, source_of
from blockyard.workflow.reading import Fault, nearest
from blockyard.workflow.references import PATTERN, BadReference, Reference, parse, walk
from blockyard.workflow.spec import Kind, Step


def reference_faults(path: str, step: Step, names: Names) -> Iterator[Fault]:
    """Of all texts of a step that may have references in them."""
    for where, text in graph.texts_of(step):
        for match in PATTERN.finditer(text):
            try:
                reason = _reference_fault(step, parse(match[1]), where.partition(".")[0].partition("[")[0], names)
            except BadReference as error:
                reason = str(error)
            if reason:
                yield Fault(f"{path}.{where}", reason)
        if "${{" in PATTERN.sub("", text):
            yield Fault(f"{path}.{where}", "a reference that begins with ${{ has no }}")


def _reference_fault(step: Step, found: Reference, field: str, names: Names) -> str:
    if found.root == "params":
        if found.path[0] not in names.parameters:
            return f"there is no parameter {found.path[0]!r}{nearest(found.path[0], names.parameters)}"
        is_list = field == "sweep" and step.sweep is not None and str(found) == source_of(step.sweep)
        return _value_fault(found, names, is_list=is_list)
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
    elif not names.has_step(found.step):
        return f"there is no step {found.step!r}{nearest(found.step, names.steps)}"
    elif found.path[1] == "outputs" and found.path[2] not in (known := names.outputs(found.step, found.path[2])):
        return f"step {found.step!r} declares no output {found.path[2]!r}{nearest(found.path[2], known)}"
    return ""


def _value_fault(found: Reference, names: Names, *, is_list: bool) -> str:
    """Why a parameter cannot be used so; `is_list`: its items are wanted."""
    name, *path = found.path
    kind = names.parameters[name].type
    if is_list and not path and kind is not Kind.LIST:
        return f"parameter {name!r} is of type {kind}; a sweep runs over a list"
    if not path or name not in names.values:
        return ""
    try:
        value = walk(names.values, found.path, "params")
    except LookupError as error:
        return str(error)
    return f"{value!r:.60} is no list" if is_list and not isinstance(value, list) else ""
