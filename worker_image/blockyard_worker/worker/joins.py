"""What a task that returned `blockyard.join(…)` leaves to be done, as groups of calls and the functions they name."""

import functools
from collections.abc import Callable
from typing import Any

from blockyard.joining import Join, of_children
from blockyard.payload import Packed, dump_call, dump_function, function_id
from blockyard.wire.records import Body, Calls, Function, Group, TaskSpec


def calls_of(join: Join, parent: TaskSpec, python: str, keep: Callable[[Packed], Body]) -> Calls:
    """Pack the calls; consecutive ones of one function make a group. `keep` decides where a body goes.

    What they have from the parent is `joining.of_children`'s. Raises NotSendable for what cannot be pickled.
    """
    groups: list[Group] = []
    functions: dict[bytes, Function] = {}
    ids: dict[int, bytes] = {}
    bodies: list[Body] = []
    for number, call in enumerate(join.calls):
        name = ids.get(id(call.function))
        if name is None:
            body = dump_function(call.function)
            name = ids[id(call.function)] = function_id(body)
            functions[name] = Function(name, _name(call.function), body, python)
        if not groups or groups[-1].spec.function != name:
            bodies = []
            spec = of_children(parent, name, parent.name if join.whole else functions[name].name, whole=join.whole)
            groups.append(Group(spec, number, bodies))
        packed, _ = dump_call(call.args, call.kwargs)
        bodies.append(keep(packed))
    return Calls(groups, list(functions.values()))


def _name(function: Callable[..., Any]) -> str:
    if isinstance(function, functools.partial):
        return _name(function.func)
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", type(function).__qualname__)
    return f"{module}.{name}" if module else name
