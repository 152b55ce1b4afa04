"""The web server: who may look, what every answer carries, and errors as pages. What is shown is `pages`'."""

import asyncio
import contextlib
import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from blockyard.errors import BlockyardError
from blockyard_monitoring.history import HistoryAway
from blockyard_monitoring.page.live import Live
from blockyard_monitoring.page.pages import Answer, Pages
from blockyard_monitoring.page.questions import BadQuestion, NothingThere
from blockyard_monitoring.page.settings import PageSettings, is_loopback

_STATIC: Final = Path(__file__).parent / "static"
_OPEN: Final = ("/static/", "/livez")
"""What may be had without a token: nothing of it is anybody's."""
_AT_ONCE: Final = 4
"""Questions to the database."""
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """`start` raises OSError when the address is taken."""

    def __init__(self, settings: PageSettings, pages: Pages) -> None:
        self._settings = settings
        self._pages = pages
        self._live = Live(settings.stream)
        self._turn = asyncio.Semaphore(_AT_ONCE)
        application = web.Application(middlewares=[self._guard], client_max_size=1024)
        for path, answer in pages.routes().items():
            application.router.add_get(path, self._page(answer))
        application.router.add_get("/live", self._tell)
        application.router.add_get("/livez", self._alive)
        application.router.add_static("/static/", _STATIC)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)

    async def start(self) -> None:
        """Begin to serve."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await site.start()
        self._live.start()

    @property
    def port(self) -> int:
        """Where it listens, once it does."""
        return int(self._runner.addresses[0][1])

    @property
    def address(self) -> str:
        """What to open in a browser, token included."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"http://{host}:{self.port}/?token={self._settings.token}"

    async def stop(self) -> None:
        """End."""
        await self._live.close()
        await self._runner.cleanup()

    @property
    def _cookie(self) -> str:
        return f"blockyard-{self.port}"  # cookies know no ports, so each server's has a name of its own

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            answer = await self._admit(request, handler)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = self._sorry(error.status, error.reason)
        except BadQuestion as error:
            answer = self._sorry(400, str(error))
        except NothingThere as error:
            answer = self._sorry(404, str(error))
        except HistoryAway as error:
            answer = self._sorry(503, str(error))
        except BlockyardError as error:
            answer = self._sorry(500, str(error))
        if not answer.prepared:
            for name, value in HEADERS.items():
                answer.headers.setdefault(name, value)
            is_file = request.path.startswith("/static/")
            answer.headers.setdefault("Cache-Control", "no-cache" if is_file else "no-store")
        return answer

    async def _admit(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        host = request.host.rpartition(":")[0] or request.host
        if self._settings.is_loopback and not is_loopback(host):
            # A page of somebody else's whose name was made to lead here.
            return self._sorry(403, f"this page is for this machine alone; it was asked for as {host[:80]!r}")
        if request.path.startswith(_OPEN):
            return await handler(request)
        if "token" in request.query and self._is_token(request.query["token"]):
            found = web.Response(status=303)
            found.headers["Location"] = str(request.rel_url.without_query_params("token"))
            found.set_cookie(self._cookie, self._settings.token, httponly=True, samesite="Lax")
            return found
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self._is_token(request.cookies.get(self._cookie, "")) and not self._is_token(given):
            return self._sorry(
                401, "a token is needed: open the whole address that 'blockyard dashboard' printed, or send it as "
                "'Authorization: Bearer TOKEN'"
            )  # fmt: skip
        return await handler(request)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._settings.token.encode())

    def _sorry(self, status: int, words: str) -> web.Response:
        text = self._pages.sorry(status, words)
        return web.Response(status=status, text=text, content_type="text/html")

    def _page(self, answer: Callable[[Any], Answer]) -> _Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            asked = {**request.query, **request.match_info, "": request.path_qs}
            async with self._turn:
                found = await asyncio.to_thread(answer, asked)
            is_text = found.content_type.startswith(("text/", "application/json"))
            return web.Response(
                body=found.body, content_type=found.content_type, charset="utf-8" if is_text else None,
                headers=found.headers,
            )  # fmt: skip

        return serve

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        if self._live.is_full:
            return self._sorry(503, "too many pages are open; this one is not told of changes")
        response = web.StreamResponse(headers={**HEADERS, "Cache-Control": "no-store"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        await response.write(b": here\n\n")
        async with contextlib.aclosing(self._live.changes()) as changes:
            async for came in changes:
                line = f"event: changed\ndata: {json.dumps(came)}\n\n" if came else ": here\n\n"
                try:
                    await response.write(line.encode())
                except ConnectionError:
                    break  # the page was closed
        return response
