"""Records as people and programs read them in JSON: every field by its name, tasks as people write them. Pure.

Each type of record has a counterpart whose fields have names on the wire; what differs between the two is worked out
once, so that a part of a record costs its follower little.
"""

from collections.abc import Callable, Sequence
from functools import cache
from operator import methodcaller
from typing import Any, Final, NamedTuple, get_args, get_origin

import msgspec
from msgspec import structs

from blockyard.ids import task_name
from blockyard.wire.monitoring import AnyRecord, TryState
from blockyard.wire.records import Record

_TASKS: Final = frozenset({"task", "first", "submission"})
_STATES: Final = {state: state.name.lower() for state in TryState}


class _Shape(NamedTuple):
    """How one type of record is shown."""

    counterpart: Callable[..., msgspec.Struct]
    """Made of the same values, in the same order."""
    changes: tuple[tuple[int, Callable[[Any], Any]], ...]
    """Places of values that are shown in another form, and how that is made."""


def line(record: AnyRecord, **more: Any) -> bytes:
    """One line of JSON, without its end: `more`, then the record's type as ``record``, then its fields.

    Numbers of tasks become names, states words, bytes hexadecimal.
    """
    text = _encode(_shown(record))
    return _encode(more)[:-1] + b"," + text[1:] if more else text


_encode = msgspec.json.Encoder().encode


def _shown(record: Record) -> msgspec.Struct:
    (shown,) = _all_shown([record])
    return shown


def _all_shown(records: Sequence[Record]) -> list[msgspec.Struct]:
    """Of one type, of which a record may have thousands: nothing is looked up for each that need not be."""
    shown: list[msgspec.Struct] = []
    if records:
        counterpart, changes = _shape(type(records[0]))
        for values in map(list, map(structs.astuple, records)):
            for place, change in changes:
                values[place] = change(values[place])
            shown.append(counterpart(*values))
    return shown


@cache
def _shape(kind: type[Record]) -> _Shape:
    tag = kind.__struct_config__.tag
    counterpart = msgspec.defstruct(
        f"_{kind.__name__}",
        kind.__struct_fields__,
        tag_field=None if tag is None else "record",
        tag=None if tag is None else kind.__name__,
        gc=False,
    )
    found = ((place, _change(field)) for place, field in enumerate(structs.fields(kind)))
    return _Shape(counterpart, tuple((place, change) for place, change in found if change is not None))


def _change(field: structs.FieldInfo) -> Callable[[Any], Any] | None:
    """What is done with a field's value; None: it is shown as it is."""
    kind = getattr(field.type, "__origin__", field.type)  # of what is Annotated
    if field.name in _TASKS:
        return task_name
    if field.name == "parent":
        return lambda task: task_name(task) if task else ""
    if field.name == "needs":
        return lambda needs: [list(map(task_name, own)) for own in needs]
    if kind is TryState:
        return _STATES.__getitem__
    if kind is bytes:
        return methodcaller("hex")
    if get_origin(kind) is list and isinstance(part := get_args(kind)[0], type) and issubclass(part, Record):
        return _all_shown
    return None
