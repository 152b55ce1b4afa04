"""Runs one try and turns whatever happens into an outcome. It never raises for what user code does.

Bodies that are blobs are opened here and large results are put into the blob folder; what is worth a blob is told by
the manager. Pickling itself is `blockyard.payload`'s.
"""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blockyard.blobs import BlobFolder, is_content_name
from blockyard.declaring import Declared
from blockyard.errors import BlobsFull, Cancelled, NotLoadable, RequestTooLarge
from blockyard.files.arrivals import arrivals
from blockyard.ids import TaskId, task_name
from blockyard.joining import Join
from blockyard.payload import Packed, dump_error, dump_result, load_call, load_value, packed_bytes, packed_size
from blockyard.wire.records import Assigned, Blob, Body, Bundle, Failure, Need, Outcome, Status, TaskSpec
from blockyard_worker.worker.interrupts import Gate
from blockyard_worker.worker.joins import calls_of

if TYPE_CHECKING:
    from blockyard.files.file import File
    from blockyard.files.staging import Staged

_monotonic = time.monotonic
MAX_INLINE_BYTES = 128 * 1024 * 1024
"""Half of a frame on the wire; a larger result needs a blob folder."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

MOST_PUT_VALUES = 16
"""Values of `Client.put` that a worker keeps unpickled."""


class Attempts:
    """Runs tries. `needs` holds the bodies of tries of the current frame that later ones in it need."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._folder: BlobFolder | None = None
        self._threshold = MAX_INLINE_BYTES
        self.needs: dict[int, Body | None] = {}
        self._put: dict[str, object] = {}
        self.spec = TaskSpec(b"")
        """Of the tries that are run now."""

    def place(self, folder: str, threshold: int) -> None:
        """Results of at least `threshold` bytes go into this folder; '' for none."""
        self._folder = BlobFolder(folder) if folder else None
        self._threshold = threshold

    def run(  # noqa: PLR0915 - the hot path: a call more is felt
        self, function: Callable[..., Any], assigned: Assigned, started: float
    ) -> Outcome:
        """Run the function on the try's arguments. `started`: now, by the monotonic clock."""
        gate = self._gate
        files: list[File] = []
        staged: Staged | None = None
        try:
            body = assigned.body
            payload = body if type(body) is bytes else self._open(body)
            gate.is_open = True
            arrivals.files = files
            if assigned.needs and self.spec.uses:
                args, kwargs = load_call(payload, lambda index: self._needed(assigned.needs[index]))
            else:
                args, kwargs = load_call(payload)
            arrivals.files = None
            if files:
                staged = _stage(files)
            value = function(*args, **kwargs)
            if staged is not None:
                staged.take_out()
            if type(value) is Join:
                calls = calls_of(value, self.spec, PYTHON, self._kept)
                gate.is_open = False
                seconds = _monotonic() - started
                return Outcome(assigned.task, assigned.epoch, Status.JOIN, b"", seconds, None, calls)
            outputs = b""
            if type(value) is Declared:
                value, outputs = value.value, value.outputs
            packed = dump_result(value)
            gate.is_open = False
            small = type(packed) is bytes and len(packed) < self._threshold
            result: Body = packed if small else self._kept(packed)  # type: ignore[assignment]  # the type was tested
            seconds = _monotonic() - started
            return Outcome(assigned.task, assigned.epoch, Status.DONE, result, seconds, None, None, outputs)
        except Cancelled:
            gate.is_open = False
            failure = Failure("cancelled while it ran")
            return Outcome(assigned.task, assigned.epoch, Status.CANCELLED, b"", _monotonic() - started, failure)
        except BaseException as error:  # noqa: BLE001 - the rim: user code raises anything, SystemExit included
            gate.is_open = False
            record = dump_error(error)
            failure = Failure(record.summary, list(record.type_names))
            return Outcome(assigned.task, assigned.epoch, Status.RAISED, record.body, _monotonic() - started, failure)
        finally:
            if staged is not None:
                staged.close()

    def _open(self, body: Body) -> bytes | memoryview:
        match body:
            case bytes():
                return body
            case Bundle():
                raise NotLoadable(f"a call was expected, found the results of {len(body.parts)} others")
        if self._folder is None:
            raise NotLoadable(
                f"blob {body.name} was sent by name, but this node shares no blob folder with the interchange: the "
                "file is gone there"
            )
        return self._folder.open(body.name)

    def _needed(self, need: Need) -> object:
        body = self.needs[need.task] if need.body is None else need.body
        if body is None:
            name = task_name(TaskId(need.task))
            raise RuntimeError(f"task {name}, which this one needs, did not succeed in this frame")
        if isinstance(body, Blob) and is_content_name(body.name):
            return self._put_value(body)
        return self._value(body)

    def _put_value(self, blob: Blob) -> object:
        """A value that a client put: unpickled once for all tries that need it, the last few of them kept."""
        if blob.name in self._put:
            self._put[blob.name] = value = self._put.pop(blob.name)
        else:
            value = self._value(blob)
            if arrivals.files:
                return value  # those in it are this try's alone
            self._put[blob.name] = value
            if len(self._put) > MOST_PUT_VALUES:
                del self._put[next(iter(self._put))]
        return value

    def _value(self, body: Body) -> object:
        if isinstance(body, Bundle):
            return [self._value(part) for part in body.parts]
        return load_value(self._open(body))

    def _kept(self, packed: Packed) -> Body:
        size = packed_size(packed)
        if self._folder is not None and size >= self._threshold:
            try:
                blob = self._folder.create(packed)
            except (BlobsFull, OSError):
                if size > MAX_INLINE_BYTES:
                    raise
            else:
                return Blob(blob.name, blob.size_bytes)
        if size > MAX_INLINE_BYTES:
            raise RequestTooLarge(
                f"the result has {size} bytes; without a blob folder shared with the interchange at most "
                f"{MAX_INLINE_BYTES} can be sent: return less, or write it to storage and return its address"
            )
        return packed_bytes(packed)


def _stage(files: "list[File]") -> "Staged":
    from blockyard.files.staging import stage  # for those tasks alone

    return stage(files)
