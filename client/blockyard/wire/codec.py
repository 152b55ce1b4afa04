"""Messages to bytes and back, with limits that hold before anything is allocated.

A message is one frame. msgspec checks types while it decodes and allocates nothing for a length that the input does
not hold, and the records fix the nesting, so a frame's size bounds what decoding it can cost.
"""

from typing import Generic, TypeVar

import msgspec

from blockyard.errors import BadFrame
from blockyard.wire import client, hub, manager, monitoring, radios

MAX_FRAME_BYTES = 256 * 1024 * 1024
"""Larger bodies travel as blobs."""

M = TypeVar("M")

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
"""Encode one message or record."""


class Decoder(Generic[M]):
    """Decodes the messages of one direction."""

    def __init__(self, union: object, direction: str) -> None:
        self._decoder = msgspec.msgpack.Decoder(union)
        self._direction = direction

    def decode(self, frame: bytes | memoryview) -> M:
        """Decode one frame.

        Raises BadFrame, naming direction, size and the field at fault, when it is too large or not of the schema.
        """
        if len(frame) > MAX_FRAME_BYTES:
            raise BadFrame(f"frame {self._direction}: {len(frame)} bytes, at most {MAX_FRAME_BYTES} are allowed")
        try:
            message: M = self._decoder.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(f"frame {self._direction}, {len(frame)} bytes: {error}") from error
        return message


from_client: Decoder[client.FromClient] = Decoder(client.FromClient, "from a client")
to_client: Decoder[client.ToClient] = Decoder(client.ToClient, "to a client")
from_manager: Decoder[manager.FromManager] = Decoder(manager.FromManager, "from a manager")
to_manager: Decoder[manager.ToManager] = Decoder(manager.ToManager, "to a manager")
from_hub: Decoder[hub.FromHub] = Decoder(hub.FromHub, "from the hub")
to_hub: Decoder[hub.ToHub] = Decoder(hub.ToHub, "to the hub")
from_operator: Decoder[radios.FromOperator] = Decoder(radios.FromOperator, "from the operator")
to_operator: Decoder[radios.ToOperator] = Decoder(radios.ToOperator, "to the operator")


class PacketDecoder(Decoder[monitoring.AnyPacket]):
    """Decodes packets of monitoring, and looks at their version."""

    def __init__(self, records: object, direction: str, most_bytes: int) -> None:
        super().__init__(monitoring.Packet[records], direction)  # type: ignore[valid-type]
        self._most_bytes = most_bytes

    def decode(self, frame: bytes | memoryview) -> monitoring.AnyPacket:
        """Decode one packet.

        Raises BadFrame as above, and for another version.
        """
        if len(frame) > self._most_bytes:
            raise BadFrame(f"packet {self._direction}: {len(frame)} bytes, at most {self._most_bytes} are allowed")
        packet = super().decode(frame)
        if packet.version != monitoring.VERSION:
            raise BadFrame(
                f"packet {self._direction}: version {packet.version}, this is {monitoring.VERSION}; "
                "use the same Blockyard on both sides"
            )
        return packet


packet_of_interchange = PacketDecoder(monitoring.AnyRecord, "of the interchange", MAX_FRAME_BYTES)
packet_of_worker = PacketDecoder(monitoring.FromWorker, "of a worker's side", monitoring.MAX_PACKET_BYTES)
