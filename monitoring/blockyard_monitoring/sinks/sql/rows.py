"""What a record becomes: rows of the tables, each a tuple of its columns in order. Pure.

Rows of one batch are gathered by key, so that a database is never told twice of one row in one statement; the later
word stands, but for a try that has ended, which does not go on again.
"""

import base64
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from blockyard.wire.monitoring import (
    AnyRecord,
    Artefact,
    ArtefactPart,
    Block,
    Config,
    Event,
    File,
    Needs,
    Node,
    Resources,
    Run,
    Tasks,
    Tries,
    WorkerTasks,
)
from blockyard_monitoring.clocks import Clocks

Row = tuple[Any, ...]
Rows = dict[str, dict[Any, Row]]
"""By table, by key."""
TOP: Final = 1 << 63
"""Numbers of tasks from here on are negative in a database."""
_WRAP: Final = 1 << 64
_ENDED: Final = 9
_STATUS: Final = 6
_RECORD: Final = 12
_MESSAGE: Final = 13
"""Places of `ended_us`, `status`, `record` and `message` in a row of `configs`."""


def signed(task: int) -> int:
    """A task's number as a database's 64-bit integer: those with the highest bit become negative."""
    return task if task < TOP else task - _WRAP


def rows_of(records: Iterable[AnyRecord], clocks: Clocks) -> Rows:
    """The rows of records, in the order in which they came."""
    rows: Rows = defaultdict(dict)
    for record in records:
        _add(rows, record, clocks)
    return rows


def _add(rows: Rows, record: AnyRecord, clocks: Clocks) -> None:
    match record:
        case Tries():
            _add_tries(rows["tries"], record)
        case WorkerTasks():
            _add_uses(rows["worker_tasks"], record, clocks.offset(record.manager))
        case Resources():
            _add_samples(rows["samples"], record)
        case Tasks():
            _add_tasks(rows["submissions"], record)
        case Needs(first, needs):
            found = rows["needs"]
            for place, own in enumerate(needs):
                task = signed(first + place)
                for need in own:
                    found[task, need] = (task, signed(need))
        case _:
            _add_one(rows, record)


def _add_tries(found: dict[Any, Row], record: Tries) -> None:
    submission, manager, at = signed(record.submission), record.manager, record.at_us
    for one in record.tries:
        task, epoch, state = one.task, one.epoch, int(one.state)
        if task >= TOP:
            task -= _WRAP
        key = task, epoch
        if state < 0 and key in found and found[key][3] >= 0:
            continue
        found[key] = (
            task, epoch, submission, state, int(one.is_last), one.queued_us, one.assigned_us, at, one.ran_us, manager,
            one.kind, one.message, one.evidence,
        )  # fmt: skip


def _add_uses(found: dict[Any, Row], record: WorkerTasks, clock: int) -> None:
    """`clock`: what must be added to the times that this manager's workers tell."""
    manager, worker, pid, accelerators = record.manager, record.worker, record.pid, record.accelerators
    for use in record.uses:
        task = signed(use.task)
        found[task, use.epoch] = (
            task, use.epoch, manager, worker, pid, accelerators, max(0, use.began_us + clock),
            max(0, use.ended_us + clock), use.cpu_user_us, use.cpu_system_us, use.peak_bytes, use.read_bytes,
            use.written_bytes, use.switches_voluntary, use.switches_involuntary, use.page_faults, clock,
        )  # fmt: skip


def _add_samples(found: dict[Any, Row], record: Resources) -> None:
    for one in record.samples:
        task = signed(one.task)
        found[task, one.epoch, one.at_us] = (
            task, one.epoch, one.at_us, record.manager, record.interval_us, one.worker, one.pid, one.cpu_user_us,
            one.cpu_system_us, one.resident_bytes, one.peak_bytes, one.virtual_bytes, one.read_bytes,
            one.written_bytes, one.threads, one.children, one.switches_voluntary, one.switches_involuntary, one.cpu,
            one.status, one.gpu_bytes,
        )  # fmt: skip


def _add_tasks(found: dict[Any, Row], one: Tasks) -> None:
    first = signed(one.first)
    found[first] = (
        first, one.count, signed(one.session), one.run, one.pool, one.function, one.function_hash.hex(),
        one.submitted_us, one.name, msgspec.json.encode(one.tags).decode() if one.tags else "", one.priority,
        one.retries, one.timeout_us, signed(one.parent),
    )  # fmt: skip


def _add_one(rows: Rows, record: AnyRecord) -> None:
    match record:
        case Run():
            row: Row = (
                signed(record.session), record.run, record.user, record.name, record.python, record.began_us,
                record.ended_us,
            )  # fmt: skip
            before = rows["sessions"].get(row[0])
            if before is not None:
                row = (*row[:5], row[5] or before[5], row[6] or before[6])
            rows["sessions"][row[0]] = row
        case Node():
            cores = record.cores if 0.0 <= record.cores < 1e9 else 0.0
            row = (
                record.manager, record.at_us, record.state, record.pool, record.block, record.node, record.reason,
                record.python, record.workers, round(cores * 1000), record.memory_bytes, record.accelerators,
                record.pid,
            )  # fmt: skip
            rows["nodes"][row[:3]] = row
        case Block():
            row = (
                record.pool, record.block, record.at_us, record.state, record.reason, record.message,
                _integer(record.exit_code), _integer(record.signal), record.started_us, record.ended_us, record.node,
            )  # fmt: skip
            rows["blocks"][row[:3]] = row
        case File():
            row = (
                signed(record.task), record.epoch, record.kind, record.path, record.size_bytes, record.at_us,
                record.sha256, record.way, record.took_us,
            )  # fmt: skip
            rows["files"][row[:4]] = row
        case Config():
            _add_config(rows["configs"], record)
        case Artefact():
            row = (
                record.config, record.name, signed(record.task), record.epoch, record.kind, record.media, record.path,
                record.size_bytes, record.sha256, record.parts, record.at_us,
            )  # fmt: skip
            rows["artefacts"][row[:2]] = row
        case ArtefactPart():
            row = (record.sha256, record.part, record.at_us, base64.b64encode(record.data).decode())
            rows["artefact_parts"][row[:2]] = row
        case Event():
            row = (record.at_us, record.kind, record.subject, record.text)
            rows["events"][row[:3]] = row
        case _:
            raise TypeError(f"record {type(record).__name__}: no table for it")


def _add_config(found: dict[Any, Row], one: Config) -> None:
    """A start that comes after the end, of which it says nothing new, is dropped, and what says only how far it is
    replaces nothing else, nor is it replaced by a start; so it is in the table."""
    before = found.get(one.id)
    if before is not None and not one.body:
        one = msgspec.structs.replace(one, status=before[_STATUS], body=before[_RECORD])
    if before is not None and not one.message and not one.ended_us:
        one = msgspec.structs.replace(one, message=before[_MESSAGE])
    if one.ended_us or before is None or not before[_ENDED]:
        found[one.id] = (
            one.id, signed(one.task), one.epoch, one.name, one.run, one.step, one.status, one.reason, one.started_us,
            one.ended_us, _integer(one.exit_code), _integer(one.signal), one.body, one.message,
        )  # fmt: skip


def _integer(number: int | None) -> int | None:
    """An exit code, or a signal, that a column can hold."""
    return None if number is None else max(-(1 << 31), min(number, (1 << 31) - 1))
