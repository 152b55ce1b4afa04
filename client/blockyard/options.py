"""Per-task options, checked when they are given and never mixed with the function's own arguments."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from blockyard.errors import ConfigError
from blockyard.wire.records import TaskSpec

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]i?)?B?", re.IGNORECASE)
_UNITS = {"": 1, **{f"{unit}i": 1024**power for power, unit in enumerate("KMGTP", 1)}}
_UNITS |= {unit: 1000**power for power, unit in enumerate("KMGTP", 1)}


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a task shall run. Durations in seconds."""

    pool: str = "default"
    name: str = ""
    """For people; '' for the function's own."""
    key: str = ""
    """Tasks of a pool with the same key are one task, whichever process submits them, until its result is collected."""
    retries: int = 0
    """Further tries after one that failed by its own fault; a try lost with its worker never costs one."""
    backoff: float = 0.0
    """Before the first retry; doubles each time."""
    retry_on: tuple[str, ...] = ()
    """Exceptions to retry on, as qualified or bare class names; classes may be given. Empty: all."""
    timeout: float = 0.0
    """Longest running time of one try."""
    deadline: float = 0.0
    """Longest time from submission to the end."""
    priority: int = 0
    """Higher runs first."""
    cores: float = 0.0
    memory_bytes: int = 0
    accelerators: int = 0
    nodes: int = 0
    ranks: int = 0
    ranks_per_node: int = 0
    idempotent: bool = True
    """It may be run again after a try that was lost midway; False: it then ends as `TaskLost`."""
    tags: tuple[str, ...] = ()
    cache: bool = False
    """A call whose function and arguments have the same content as one that succeeded before is not made: its result is
    that one's."""
    ignore_for_cache: tuple[str, ...] = ()
    """Parameters whose arguments do not count for that."""
    cache_version: str = ""
    """Counts for it, too: another version finds nothing of the one before."""

    def but(self, **changes: Any) -> "Options":
        """These options with some replaced. `memory` takes a size such as '1Gi', `retry_on` classes or names.

        Raises ConfigError naming the option, what was found and what is expected.
        """
        for name in changes:
            if name not in _NAMES:
                from blockyard.suggestion import nearest

                raise ConfigError(f"task options: unknown {name!r}{nearest(name, _NAMES)}")
        if "memory" in changes:
            changes["memory_bytes"] = parse_size("memory", changes.pop("memory"))
        if "retry_on" in changes:
            changes["retry_on"] = _names("retry_on", changes["retry_on"], classes=True)
        for field in ("tags", "ignore_for_cache"):
            if field in changes:
                changes[field] = _names(field, changes[field])
        try:
            merged = msgspec.convert({**msgspec.structs.asdict(self), **changes}, Options)
        except msgspec.ValidationError as error:
            raise ConfigError(f"task options: {_in_words(error, changes)}") from None
        merged._check_numbers()
        return merged

    def _check_numbers(self) -> None:
        for field in _COUNTS:
            value = getattr(self, field)
            if value < 0:
                raise ConfigError(f"task options: {field}={value!r} is negative")
            if not math.isfinite(value):
                raise ConfigError(f"task options: {field}={value!r} is no number to count with")
            if value > _MOST:
                raise ConfigError(f"task options: {field}={value!r} is more than {_MOST}")
        if not -(2**31) <= self.priority < 2**31:
            raise ConfigError(f"task options: priority={self.priority} is not a number from -2^31 to 2^31-1")

    def check_for_many(self) -> None:
        """Raise ConfigError when they name one task, by `key`."""
        if self.key:
            raise ConfigError("task options: key names one task; give it to submit, one call at a time")

    def spec(self, function: bytes) -> TaskSpec:
        """These options as messages have them, for tasks of this function."""
        return TaskSpec(
            function, self.pool, self.name, self.priority, self.retries, self.backoff, self.retry_on, self.timeout,
            self.deadline, self.cores, self.memory_bytes, self.accelerators, self.nodes, self.ranks,
            self.ranks_per_node, self.idempotent, self.tags,
        )  # fmt: skip


_COUNTS = (
    "retries", "backoff", "timeout", "deadline", "cores", "memory_bytes", "accelerators", "nodes", "ranks",
    "ranks_per_node",
)  # fmt: skip
_MOST = 2**63 - 1
"""Of any count: what a frame can carry."""
_NAMES = (*Options.__struct_fields__, "memory")


_WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "True or False"}


def _in_words(error: msgspec.ValidationError, changes: Mapping[str, object]) -> str:
    """Which option is of a wrong type, from msgspec's "Expected `int`, got `str` - at `$.retries`"."""
    expected, _, place = str(error).partition(" - at `$.")
    field = place.rstrip("`")
    kind = expected.removeprefix("Expected `").partition("`")[0]
    value = changes.get(field)
    instead = "; leave it out for its default" if value is None else ""
    return f"{field}={value!r} is not {_WORDS.get(kind, kind)}{instead}"


def parse_size(field: str, value: int | str) -> int:
    """Bytes from a number or a text such as '512Mi' or '2G'.

    Raises ConfigError naming the field.
    """
    if isinstance(value, int) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f"{field}={value!r} is no size; write bytes, or a number with Ki, Mi, Gi (or K, M, G)")
    unit = match[2] or ""
    return int(float(match[1]) * _UNITS[unit[:1].upper() + unit[1:].lower()])


def _names(field: str, wanted: Any, *, classes: bool = False) -> tuple[str, ...]:
    many = wanted if isinstance(wanted, Iterable) and not isinstance(wanted, type | str) else [wanted]
    return tuple(_name(field, one, classes=classes) for one in many)


def _name(field: str, one: object, *, classes: bool) -> str:
    if isinstance(one, str):
        return one
    if classes and isinstance(one, type):
        return f"{one.__module__}.{one.__qualname__}"
    expected = "neither a class of exceptions nor a name" if classes else "no name"
    raise ConfigError(f"task options: {field}: {one!r} is {expected}")
