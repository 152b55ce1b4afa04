"""Lines of COPY's CSV, made of JSON: a list of numbers and plain texts is the same in both, but for the brackets.

What tries, uses and samples are told in is encoded as it came: their fields are columns, and what a record says of all
of its parts stands behind each, so that no row is made. Whatever is not so plain is left to `rows`, or is written value
by value. Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from blockyard.wire.monitoring import AnyRecord, Resources, Sample, Tries, Try, Use, WorkerTasks
from blockyard.wire.records import Record
from blockyard_monitoring.clocks import Clocks
from blockyard_monitoring.sinks.sql.rows import TOP, Row

NULL: Final = "null"
_CHUNK: Final = 1_000
"""Parts that are encoded at a time: the server takes in those before meanwhile."""

_encode: Final = msgspec.json.Encoder().encode
_task: Final = attrgetter("task")


class Lane(NamedTuple):
    """Of one kind of record: where its parts go."""

    table: str
    columns: tuple[str, ...]
    """In the order of a line."""
    has_flag: bool = False
    """One of them is true or false, which tables have as 1 and 0."""


_TRIES: Final = Lane("tries", (*Try.__struct_fields__, "submission", "returned_us", "manager"), has_flag=True)
_USES: Final = Lane("worker_tasks", (*Use.__struct_fields__, "manager", "worker", "pid", "accelerators"))
_SAMPLES: Final = Lane("samples", (*Sample.__struct_fields__, "manager", "interval_us"))
LANES: Final = (_TRIES, _USES, _SAMPLES)


class Told(NamedTuple):
    """A record whose parts may go by a lane."""

    record: AnyRecord
    parts: Sequence[Record]
    shared: Row
    """What stands behind each."""


def sorted_out(records: Iterable[AnyRecord], clocks: Clocks) -> tuple[dict[Lane, list[Told]], list[AnyRecord]]:
    """Records by their lanes, and those that must be made rows."""
    quick: dict[Lane, list[Told]] = defaultdict(list)
    others: list[AnyRecord] = []
    for record in records:
        match record:
            case Tries() if _are_plain(record.tries):
                shared: Row = (record.submission, record.at_us, record.manager)
                quick[_TRIES].append(Told(record, record.tries, shared))
            case WorkerTasks() if _are_plain(record.uses) and not clocks.offset(record.manager):
                shared = (record.manager, record.worker, record.pid, record.accelerators)
                quick[_USES].append(Told(record, record.uses, shared))
            case Resources() if _are_plain(record.samples):
                quick[_SAMPLES].append(Told(record, record.samples, (record.manager, record.interval_us)))
            case _:
                others.append(record)
    return quick, others


def _are_plain(parts: Sequence[Try | Use | Sample]) -> bool:
    """There are some, and their tasks have the same numbers in a database."""
    return bool(parts) and max(map(_task, parts)) < TOP


def of_lane(lane: Lane, told: Iterable[Told], left: list[AnyRecord]) -> Iterator[bytes]:
    """Their lines, some at a time; records whose texts are not plain are put into `left` instead."""
    own: list[AnyRecord] = []
    texts: list[bytes] = []
    count = 0
    for record, parts, shared in told:
        tail = b"," + _encode(shared)[1:-1] + b"\n"
        texts += (_encode(parts)[2:-2].replace(b"],[", tail), tail)
        own.append(record)
        count += len(parts)
        if count >= _CHUNK:
            yield from _checked(lane, texts, count, own, left)
            own, texts, count = [], [], 0
    if own:
        yield from _checked(lane, texts, count, own, left)


def of_rows(rows: Sequence[Row]) -> Iterator[bytes]:
    """The lines of a table's rows, some at a time."""
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        text = _encode(some)[2:-2].replace(b"],[", b"\n") + b"\n"
        if _is_plain(text, len(some)):
            yield text
        else:
            yield "".join([",".join(map(_value, row)) + "\n" for row in some]).encode()


def _checked(
    lane: Lane, texts: list[bytes], count: int, own: list[AnyRecord], left: list[AnyRecord]
) -> Iterator[bytes]:
    text = b"".join(texts)
    is_plain = _is_plain(text, count)
    if lane.has_flag:
        is_plain = is_plain and text.count(b",true,") + text.count(b",false,") == count
        text = text.replace(b",true,", b",1,").replace(b",false,", b",0,")
    if is_plain:
        yield text
    else:
        left += own


def _is_plain(text: bytes, count: int) -> bool:
    """Nothing in it was escaped, and no text was taken for the end of a line: looked at as a whole, for it is rare."""
    return b"\\" not in text and text.count(b"\n") == count


def _value(value: Any) -> str:
    if value is None:
        return NULL
    if isinstance(value, str):
        return '"' + value.replace('"', '""').replace("\0", "\\0") + '"'
    return str(value)
