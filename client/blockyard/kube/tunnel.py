"""A connection to a port of a pod: bytes there and back, through the API server and the pod's node.

The protocol is ``v4.channel.k8s.io`` over WebSocket: the first byte of each message is its channel, 0 for data and 1
for the node's complaint, and the first message of each channel is the port's number. It is defined by
``pkg/cri/streaming/portforward/websocket.go`` of k8s.io/kubelet.
"""

from __future__ import annotations

from typing import Final

import aiohttp

from blockyard.kube.faults import ApiUnreachable

PROTOCOL: Final = "v4.channel.k8s.io"
_DATA: Final = 0
_COMPLAINT: Final = 1


class Tunnel:
    """An open connection. Closed by either side; `receive` says b'' then."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, asked: str) -> None:
        self._socket = socket
        self._asked = asked
        self._begun: set[int] = set()

    async def send(self, data: bytes) -> None:
        """Send bytes to the port. Raises ApiUnreachable when the connection is gone."""
        try:
            await self._socket.send_bytes(bytes([_DATA]) + data)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ApiUnreachable(self._asked, str(error) or type(error).__name__) from error

    async def receive(self) -> bytes:
        """The next bytes of the port; b'' when the connection has ended. Raises ApiUnreachable in the node's words."""
        while True:
            message = await self._socket.receive()
            match message.type:
                case aiohttp.WSMsgType.BINARY:
                    channel, data = message.data[0], message.data[1:]
                case aiohttp.WSMsgType.CLOSE | aiohttp.WSMsgType.CLOSING | aiohttp.WSMsgType.CLOSED:
                    return b""
                case _:
                    raise ApiUnreachable(self._asked, f"the connection broke: {message.data or message.type.name}")
            if channel not in self._begun:
                self._begun.add(channel)
                data = data[2:]  # the port's number
            if channel == _COMPLAINT and data:
                raise ApiUnreachable(self._asked, data.decode("utf-8", "replace").strip())
            if channel == _DATA and data:
                return bytes(data)

    async def close(self) -> None:
        """End the connection."""
        await self._socket.close()
