"""What is wrong with the parameters of a spec, and with the values that a run gives them.

Whether a step refers to one that there is, is left to `references` and `conditions`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from blockyard.workflow.reading import Fault, nearest
from blockyard.workflow.spec import Kind, Parameter, Workflow

_PYTHON: Final = {
    Kind.STRING: (str,),
    Kind.INTEGER: (int,),
    Kind.NUMBER: (int, float),
    Kind.BOOLEAN: (bool,),
    Kind.LIST: (list,),
    Kind.OBJECT: (dict,),
}


def parameter_faults(spec: Workflow, *, needs_arguments: bool) -> Iterator[Fault]:
    """All of them. `needs_arguments`: each must have a value."""
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
