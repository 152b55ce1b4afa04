"""A small web server of the tests: each path says what it serves and how it misbehaves, and is counted."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Page:
    """What is served at a path."""

    content: bytes
    etag: str = '"1"'
    """'' for none."""
    failures: int = 0
    """So many GETs are answered with `status`."""
    status: int = 503
    cuts: int = 0
    """So many GETs after the failures end after half of the content."""
    stall: threading.Event | None = None
    """A GET waits for it after half of the content."""
    begun: threading.Event = field(default_factory=threading.Event)
    """A GET has sent half of the content."""
    authorization: str = ""
    """What must be in the header of that name."""


class WebServer:
    """`pages` by path, without escapes; `counts` by (method, path)."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="web-server")
        self._thread.start()

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        for page in self.pages.values():
            if page.stall is not None:
                page.stall.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: WebServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.web.counts[self.command, path] += 1
        page = self.web.pages.get(path)
        is_get = self.command == "GET"
        if page is None:
            self._say(404)
        elif page.authorization and self.headers.get("Authorization") != page.authorization:
            self._say(401)
        elif is_get and page.failures:
            page.failures -= 1
            self._say(page.status)
        else:
            self._serve(page, is_get)

    def _serve(self, page: Page, is_get: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(page.content)))
        if page.etag:
            self.send_header("ETag", page.etag)
        self.end_headers()
        if not is_get:
            return
        half = len(page.content) // 2
        self.wfile.write(page.content[:half])
        self.wfile.flush()
        page.begun.set()
        if page.cuts:
            page.cuts -= 1
            self.close_connection = True
            return
        if page.stall is not None:
            page.stall.wait(60.0)
        self.wfile.write(page.content[half:])

    def _say(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
