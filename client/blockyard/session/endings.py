"""From outcomes and refusals of the wire to what futures end with."""

import functools
import re
from typing import Any, Final

from blockyard import errors
from blockyard.blobs import BlobFolder
from blockyard.ending import Ending
from blockyard.ids import TaskId, task_name
from blockyard.payload import load_value
from blockyard.wire.client import Refused
from blockyard.wire.records import Blob, Body, Bundle, Failure, Outcome, Status


def ending_of(outcome: Outcome, blobs: BlobFolder | None) -> tuple[Ending, Any]:
    """How a future ends. Blobs are opened at once: after this the interchange may free them.

    One that cannot be opened is the error of its future alone.
    """
    try:
        return _ending_of(outcome, blobs)
    except (errors.BlobMissing, OSError) as error:
        return Ending.EXCEPTION, error


def _ending_of(outcome: Outcome, blobs: BlobFolder | None) -> tuple[Ending, Any]:
    match outcome.status:
        case Status.DONE:
            if isinstance(outcome.body, Bundle):
                return Ending.VALUE_FROM, functools.partial(_load, _opened(outcome.body, blobs))
            return Ending.RESULT, _opened(outcome.body, blobs)
        case Status.RAISED if outcome.body:
            return Ending.ERROR, _opened(outcome.body, blobs)
        case Status.CANCELLED:
            return Ending.CANCELLED, None
        case _:
            return Ending.EXCEPTION, _error(outcome)


def _opened(body: Body, blobs: BlobFolder | None) -> Any:
    """The bytes of a body; for a bundle, the list of its parts' bytes."""
    match body:
        case bytes():
            return body
        case Blob():
            if blobs is None:
                raise errors.BlobMissing(
                    f"blob {body.name} was sent by name, but this client shares no blob folder with the interchange: "
                    "the file is gone there"
                )
            return blobs.open(body.name)
        case Bundle():
            return [_opened(part, blobs) for part in body.parts]


def _load(opened: Any) -> Any:
    return [_load(part) for part in opened] if isinstance(opened, list) else load_value(opened)


def _error(outcome: Outcome) -> Exception:
    failure = outcome.failure or Failure("no reason was given")
    name = f"task {task_name(TaskId(outcome.task))}"
    evidence = f"; seen: {failure.evidence}" if failure.evidence else ""
    message = f"{name}: {failure.message}{evidence}"
    match outcome.status:
        case Status.TIMEOUT:
            return errors.TaskTimeout(message)
        case Status.DEADLINE:
            return errors.DeadlineExceeded(message)
        case Status.OUT_OF_MEMORY:
            return errors.OutOfMemory(message, failure.peak_bytes, failure.limit_bytes)
        case Status.DEPENDENCY:
            cause = failure.types[0] if failure.types else ""
            return errors.DependencyError(f"{name} was not run: {failure.message}", failure.task or outcome.task, cause)
        case Status.REFUSED:
            kind = failure.types[0] if failure.types else ""
            return _NEVER_RUN.get(kind, errors.RequestTooLarge)(message)
        case _:
            return errors.TaskLost(message)


_NEVER_RUN: dict[str, type[errors.BlockyardError]] = {
    f"{kind.__module__}.{kind.__qualname__}": kind for kind in (errors.ConfigError, errors.PoolFailed)
}
"""What a task that can never run ends with, by the type that its failure names."""

_REFUSALS: dict[str, type[errors.BlockyardError]] = {
    "pool": errors.UnknownPool,
    "request": errors.RequestTooLarge,
    "python": errors.VersionMismatch,
    "version": errors.VersionMismatch,
}
_PLACE: Final = re.compile(r"\Asubmission \d+, group \d+: ")


def refusal_error(refused: Refused) -> errors.BlockyardError:
    """The exception for a refusal. Where in which submission the fault was is for those who look at frames."""
    kind = _REFUSALS.get(refused.kind)
    return errors.BlockyardError(refused.message) if kind is None else kind(_PLACE.sub("", refused.message, 1))
