"""What a manager and a worker say to each other, over a stream socket of their own: a length, then a record.

Frames are 4 bytes of length, little-endian, and one msgpack record. Both ends are processes of one program version and
one user, so there is no version in them. Order matters: outcomes come in the order in which the tries were sent.
"""

import socket
import struct
from collections.abc import Iterator

import msgspec

from blockyard.wire.records import Assigned, Function, Outcome, Record, TaskSpec

MAX_FRAME_BYTES = 1 << 30
_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 18


class RunGroup(Record, frozen=True):
    """Tries of one spec."""

    spec: TaskSpec
    batch: bool
    """Outcomes may wait a few milliseconds for others. False: each is sent at once, before the next try starts."""
    tries: list[Assigned]


class Run(Record, tag=1, frozen=True):
    """Tries to run, in this order, each for a token; see `tokens`."""

    number: int
    """Counts up from 1 for each worker."""
    groups: list[RunGroup]
    environment: dict[str, str] = {}
    """Set while these tries run, and only then."""


class Load(Record, tag=2, frozen=True):
    """Functions that later frames name, and such as none will name before it is sent again."""

    functions: list[Function]
    dropped: list[bytes] = []


class Place(Record, tag=4, frozen=True):
    """Where large bodies are kept, see `wire.manager.Joined`."""

    blobs: str
    blob_threshold: int


class Exit(Record, tag=3, frozen=True):
    """End, when everything sent before has been done."""


class Ready(Record, tag=1, frozen=True):
    """The worker is warm and waits for tries."""


class Unfit(Record, tag=2, frozen=True):
    """The worker could not be set up (`worker_init` failed) and ends."""

    message: str


class Results(Record, tag=3, frozen=True):
    """Outcomes in order. Status DEPENDENCY means: not run, because a try before it that it needs did not succeed."""

    outcomes: list[Outcome]
    idle: int = 0
    """Number of the last `Run` frame seen, when nothing of it and those before is left to do; 0: still busy."""


ToWorker = Run | Load | Place | Exit
FromWorker = Ready | Unfit | Results

encode = msgspec.msgpack.Encoder().encode
to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def frame(record: ToWorker | FromWorker) -> bytes:
    """Encode a record with its length in front."""
    body = encode(record)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"frame of {len(body)} bytes between manager and worker, at most {MAX_FRAME_BYTES} fit")
    return _LENGTH.pack(len(body)) + body


class FrameBuffer:
    """Collects what arrives and cuts it into frames."""

    __slots__ = ("_data", "_need")

    def __init__(self) -> None:
        self._data = bytearray()
        self._need = _LENGTH.size

    def read_from(self, source: socket.socket, flags: int = 0) -> bool:
        """Read once what is there; False at the end of the stream. Raises BlockingIOError when nothing is there."""
        chunk = source.recv(max(_READ_BYTES, self._need - len(self._data)), flags)
        self._data += chunk
        return bool(chunk)

    def frames(self) -> Iterator[memoryview]:
        """Yield the frames that are complete. Each is valid until the next is asked for."""
        data, at = self._data, 0
        self._need = _LENGTH.size
        view = memoryview(data)
        try:
            while len(data) - at >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(data, at)
                if length > MAX_FRAME_BYTES:
                    raise ValueError(f"frame of {length} bytes between manager and worker: the stream is damaged")
                if len(data) - at - _LENGTH.size < length:
                    self._need = length + _LENGTH.size
                    break
                at += _LENGTH.size + length
                piece = view[at - length : at]
                yield piece
                piece.release()
        finally:
            view.release()
            del data[:at]
