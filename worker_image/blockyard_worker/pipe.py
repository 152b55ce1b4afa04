"""How `records` travel between a manager and a worker: over a stream socket of their own, a length, then a record.

A frame is 4 bytes of length, little-endian, and one msgpack record. Both ends are processes of one program version and
one user, so there is no version in it.
"""

import socket
import struct
from collections.abc import Iterator

import msgspec

from blockyard_worker.records import FromWorker, ToWorker

MAX_FRAME_BYTES = 1 << 30
_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 18
_scratch = bytearray(_READ_BYTES)
"""What one read brings; `recv` would get and give back a quarter of a megabyte from the system each time."""


encode = msgspec.msgpack.Encoder().encode
to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


class FrameError(ValueError):
    """A frame is larger than any can be."""


def frame(record: ToWorker | FromWorker) -> bytes:
    """Encode a record with its length in front."""
    body = encode(record)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"frame of {len(body)} bytes between manager and worker, at most {MAX_FRAME_BYTES} fit")
    return _LENGTH.pack(len(body)) + body


class FrameBuffer:
    """Collects what arrives and cuts it into frames."""

    __slots__ = ("_data", "_need")

    def __init__(self) -> None:
        self._data = bytearray()
        self._need = _LENGTH.size

    def read_from(self, source: socket.socket, flags: int = 0) -> bool:
        """Read once what is there; False at the end of the stream. Raises BlockingIOError when nothing is there."""
        if self._need - len(self._data) > _READ_BYTES:
            chunk: bytes | memoryview = source.recv(self._need - len(self._data), flags)
        else:
            chunk = memoryview(_scratch)[: source.recv_into(_scratch, 0, flags)]
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
                    raise FrameError(f"frame of {length} bytes between manager and worker: the stream is damaged")
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
