"""Runs one try and turns whatever happens into an outcome. It never raises for what user code does.

Bodies that are blobs are opened here and large results are put into the blob folder; what is worth a blob is told by
the manager. Pickling itself is `blockyard.payload`'s.
"""

import time
from collections.abc import Callable
from typing import Any

from blockyard.blobs import BlobFolder
from blockyard.errors import BlobsFull, NotSendable, RequestTooLarge
from blockyard.payload import Packed, dump_error, dump_result, load_call, load_value, packed_bytes, packed_size
from blockyard.wire.records import Assigned, Blob, Body, Failure, Need, Outcome, Status
from blockyard_worker.worker.interrupts import Cancelled, Gate

_monotonic = time.monotonic
MAX_INLINE_BYTES = 128 * 1024 * 1024
"""Half of a frame on the wire; a larger result needs a blob folder."""


class Attempts:
    """Runs tries. `needs` holds the bodies of tries of the current frame that later ones in it need."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._folder: BlobFolder | None = None
        self._threshold = MAX_INLINE_BYTES
        self.needs: dict[int, Body | None] = {}

    def place(self, folder: str, threshold: int) -> None:
        """Results of at least `threshold` bytes go into this folder; '' for none."""
        self._folder = BlobFolder(folder) if folder else None
        self._threshold = threshold

    def run(self, function: Callable[..., Any], assigned: Assigned, started: float) -> Outcome:
        """Run the function on the try's arguments. `started`: now, by the monotonic clock."""
        gate = self._gate
        try:
            body = assigned.body
            if type(body) is not bytes:
                body = self._open(body)
            gate.is_open = True
            if assigned.needs:
                args, kwargs = load_call(body, lambda index: self._value(assigned.needs[index]))
            else:
                args, kwargs = load_call(body)
            packed = dump_result(function(*args, **kwargs))
            gate.is_open = False
            if type(packed) is not bytes or len(packed) >= self._threshold:
                packed = self._kept(packed)
            return Outcome(assigned.task, assigned.epoch, Status.DONE, packed, _monotonic() - started)
        except Cancelled:
            gate.is_open = False
            failure = Failure("cancelled while it ran")
            return Outcome(assigned.task, assigned.epoch, Status.CANCELLED, b"", _monotonic() - started, failure)
        except BaseException as error:  # noqa: BLE001 - the rim: user code raises anything, SystemExit included
            gate.is_open = False
            record = dump_error(error)
            failure = Failure(record.summary, list(record.type_names))
            return Outcome(assigned.task, assigned.epoch, Status.RAISED, record.body, _monotonic() - started, failure)

    def _open(self, body: Body) -> bytes | memoryview:
        if isinstance(body, bytes):
            return body
        if self._folder is None:
            raise NotSendable(
                f"blob {body.name} was sent by name, but this node shares no blob folder with the interchange"
            )
        return self._folder.open(body.name)

    def _value(self, need: Need) -> object:
        body = self.needs[need.task] if need.body is None else need.body
        if body is None:
            raise RuntimeError(f"task {need.task}, which this one needs, did not succeed in this frame")
        return load_value(self._open(body))

    def _kept(self, packed: Packed) -> Body:
        size = packed_size(packed)
        if self._folder is not None and size >= self._threshold:
            try:
                blob = self._folder.create(packed)
            except BlobsFull:
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
