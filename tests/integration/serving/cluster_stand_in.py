"""An API server as far as `Client.kubernetes` uses one: Secret, Service, pods, and port-forwards to real sockets.

What it serves is changed by the test while it runs. That a real API server and a real node do the same is shown by the
end-to-end tests; here connections can be cut and silenced at will.
"""

import asyncio
import base64
import threading
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

TOKEN = "the-token"


class StandIn:
    """One server, in a thread of its own."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, str]] = {}
        """'NAMESPACE/NAME' to data as texts."""
        self.pods: dict[str, tuple[str, int]] = {}
        """Running pods of the Service: name to phase and the real port behind them."""
        self.blocks: dict[str, dict[str, Any]] = {}
        """WorkerBlocks: 'NAMESPACE/NAME' to what was patched into it."""
        self.pools: dict[str, dict[str, Any]] = {}
        """WorkerPools: 'NAMESPACE/NAME' to status."""
        self.refused: list[str] = []
        self.written: list[str] = []
        """Requests that would change something, carried out or not."""
        self.forwards = 0
        self.is_silent = False
        """Bytes of pods do not come through any more, and no connection ends."""
        self._sockets: set[web.WebSocketResponse] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)

    def kubeconfig(self, folder: Path, namespace: str = "science") -> str:
        """A file that leads here."""
        path = folder / "kubeconfig"
        path.write_text(
            f"""
apiVersion: v1
kind: Config
current-context: here
clusters: [{{name: here, cluster: {{server: "http://127.0.0.1:{self.port}"}}}}]
users: [{{name: me, user: {{token: {TOKEN}}}}}]
contexts: [{{name: here, context: {{cluster: here, user: me, namespace: {namespace}}}}}]
"""
        )
        return str(path)

    def cut(self) -> None:
        """End all port-forwards."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(30)

    def close(self) -> None:
        """End."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cut(self) -> None:
        for socket in list(self._sockets):
            await socket.close()

    async def _start(self) -> int:
        app = web.Application(middlewares=[self._check])
        root = "/api/v1/namespaces/{namespace}"
        app.router.add_get(root + "/secrets/{name}", self._secret)
        app.router.add_get(root + "/services/blockyard-interchange", self._service)
        app.router.add_get(root + "/pods", self._list)
        blocks = "/apis/blockyard.dev/v1alpha1/namespaces/{namespace}/workerblocks/{name}"
        app.router.add_get(blocks, self._block)
        app.router.add_patch(blocks, self._block)
        app.router.add_get("/apis/blockyard.dev/v1alpha1/namespaces/{namespace}/workerpools/{name}", self._pool)
        app.router.add_get(root + "/pods/{pod}/portforward", self._forward)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    @web.middleware
    async def _check(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refused.append(request.path)
            return web.json_response({"reason": "Unauthorized", "message": "who are you?", "code": 401}, status=401)
        if request.method != "GET":
            self.written.append(f"{request.method} {request.path}")
        response: web.StreamResponse = await handler(request)
        return response

    async def _secret(self, request: web.Request) -> web.Response:
        found = self.secrets.get(f"{request.match_info['namespace']}/{request.match_info['name']}")
        if found is None:
            return web.json_response({"reason": "NotFound", "message": "no such Secret", "code": 404}, status=404)
        return web.json_response({"data": {key: base64.b64encode(v.encode()).decode() for key, v in found.items()}})

    async def _block(self, request: web.Request) -> web.Response:
        found = self.blocks.get(f"{request.match_info['namespace']}/{request.match_info['name']}")
        if found is None:
            return web.json_response({"reason": "NotFound", "message": "no such block", "code": 404}, status=404)
        if request.method == "PATCH":
            found.update(await request.json())
        return web.json_response(found)

    async def _pool(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if namespace == "closed":
            return web.json_response({"reason": "Forbidden", "message": "not you", "code": 403}, status=403)
        found = self.pools.get(f"{namespace}/{name}")
        if found is None:
            return web.json_response({"reason": "NotFound", "message": "no such pool", "code": 404}, status=404)
        return web.json_response({"status": found})

    async def _service(self, _: web.Request) -> web.Response:
        ports = [{"name": "clients", "port": 5555, "targetPort": "clients"}]
        return web.json_response({"spec": {"selector": {"app": "ix"}, "ports": ports}})

    async def _list(self, request: web.Request) -> web.Response:
        assert request.query["labelSelector"] == "app=ix"
        items = [
            {
                "metadata": {"name": name},
                "spec": {"containers": [{"ports": [{"name": "clients", "containerPort": 5001}]}]},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]},
            }
            for name, (phase, _) in self.pods.items()
        ]
        return web.json_response({"items": items, "metadata": {"resourceVersion": "1"}})

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        assert request.query["ports"] == "5001"
        port = self.pods[request.match_info["pod"]][1]
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",), max_msg_size=0)
        await socket.prepare(request)
        assert socket.ws_protocol == "v4.channel.k8s.io"
        self.forwards += 1
        self._sockets.add(socket)
        for channel in (b"\0", b"\1"):
            await socket.send_bytes(channel + (5001).to_bytes(2, "little"))
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            await socket.send_bytes(b"\1" + f"connection refused: {error}".encode())
            await socket.close()
            return socket
        down = asyncio.ensure_future(self._down(reader, socket))
        try:
            async for message in socket:
                assert message.type is aiohttp.WSMsgType.BINARY
                assert message.data[0] == 0
                writer.write(message.data[1:])
                await writer.drain()
        finally:
            down.cancel()
            writer.close()
            self._sockets.discard(socket)
        return socket

    async def _down(self, reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
        while data := await reader.read(1 << 16):
            if not self.is_silent:
                await socket.send_bytes(b"\0" + data)
        await socket.close()
