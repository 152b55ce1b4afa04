"""Probes and metrics over HTTP: GET /live, /ready, /metrics; others are 404."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

Check = Callable[[], str]
"""Says what is wrong, '' when nothing is."""


class Web:
    """The server; `start` raises OSError when the address is taken."""

    def __init__(self, listen: str, live: Check, ready: Check, metrics: Callable[[], tuple[bytes, str]]) -> None:
        self._host, _, port = listen.rpartition(":")
        self._port = int(port)
        self._metrics = metrics
        application = web.Application()
        application.router.add_get("/live", _probe(live))
        application.router.add_get("/ready", _probe(ready))
        application.router.add_get("/metrics", self._serve_metrics)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> None:
        """Begin to serve."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, shutdown_timeout=0.2).start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, once it does."""
        host, port = self._runner.addresses[0][:2]
        return str(host), int(port)

    async def stop(self) -> None:
        """End."""
        await self._runner.cleanup()

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        body, content_type = self._metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})


def _probe(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(_: web.Request) -> web.Response:
        problem = check()
        return web.Response(status=503 if problem else 200, text=f"{problem or 'ok'}\n")

    return serve
