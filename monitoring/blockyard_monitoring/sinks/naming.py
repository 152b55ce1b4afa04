"""Records as people and programs read them in JSON: every field by its name, tasks as people write them. Pure."""

from typing import Any, Final

import msgspec

from blockyard.ids import TaskId, task_name
from blockyard.wire.monitoring import AnyRecord, TryState
from blockyard.wire.records import Record

_TASKS: Final = frozenset({"task", "first", "submission", "parent"})


def named(record: AnyRecord) -> dict[str, Any]:
    """A record as a dictionary: its type as ``record``, and its fields; numbers of tasks become names, states words."""
    return {"record": type(record).__name__, **_fields(record)}


def _fields(record: Record) -> dict[str, Any]:
    return {name: _value(name, getattr(record, name)) for name in record.__struct_fields__}


def _value(name: str, value: Any) -> Any:
    match value:
        case TryState():
            return value.name.lower()
        case Record():
            return _fields(value)
        case bytes():
            return value.hex()
        case list():
            if name == "needs":
                return [[task_name(TaskId(need)) for need in own] for own in value]
            return [_value("", one) for one in value]
        case int() if name in _TASKS and not isinstance(value, bool):
            return "" if name == "parent" and not value else task_name(TaskId(value))
    return value


_encode = msgspec.json.Encoder().encode


def line(record: AnyRecord, **more: Any) -> bytes:
    """The same as one line of JSON, without its end; `more` comes first."""
    return _encode({**more, **named(record)})
