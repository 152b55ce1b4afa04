"""A proxy on loopback between a client under test and a real API server, which makes go wrong what a test asks for.

The client speaks plain HTTP to it. A request that carries a token goes on with that token; any other goes on as the
administrator whose certificate the injector was given.
"""

import contextlib
import http.client
import itertools
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from tests.cluster.calls import Call, call_of
from tests.cluster.faults import (
    CutWatch,
    Effect,
    ExpireWatch,
    Fault,
    Hang,
    Late,
    LoseAnswer,
    Refuse,
    Stale,
    expired_event,
    status,
    striking,
)

OWN_HEADERS = {"connection", "host", "transfer-encoding", "content-length", "keep-alive", "accept-encoding"}
"""Of one connection only; the proxy writes its own."""
READ_BYTES = 1 << 16


class Seen(msgspec.Struct, frozen=True):
    """One request that came by, and what was done to it (None: nothing)."""

    call: Call
    effect: Effect | None


class Injector:
    """The proxy. `url` is where it listens; `inject` adds faults at any time."""

    def __init__(self, server: str, certificates: Path) -> None:
        self._server = urlsplit(server)
        self._admin = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        self._admin.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")
        self._anyone = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._met: list[int] = []
        self._first: dict[str, bytes] = {}
        self._seen: list[Seen] = []
        self._watches: set[http.client.HTTPConnection] = set()
        self.closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, name="injector", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def seen(self) -> list[Seen]:
        """All requests so far, in the order in which they came."""
        with self._lock:
            return list(self._seen)

    def inject(self, *faults: Fault) -> None:
        """Have these happen, besides those that are there."""
        with self._lock:
            self._faults += faults
            self._met += [0] * len(faults)

    def clear(self) -> None:
        """Nothing goes wrong from now on."""
        with self._lock:
            self._faults, self._met = [], []

    def drop_watches(self) -> int:
        """Break the connection of every watch that is open; how many there were."""
        with self._lock:
            open_now = list(self._watches)
        for connection in open_now:
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(2)
        return len(open_now)

    def write_kubeconfig(self, path: Path) -> Path:
        """For programs that want one."""
        cluster = {"name": "injector", "cluster": {"server": self.url}}
        context = {"name": "injector", "context": {"cluster": "injector", "user": ""}}
        kubeconfig = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
        path.write_text(json.dumps({**kubeconfig, "current-context": "injector"}))
        return path

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Break all connections and end."""
        self.closing.set()
        self.drop_watches()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def strike(self, call: Call) -> Effect | None:
        """Note the request, and say what is to happen to it."""
        with self._lock:
            index = striking(self._faults, self._met, call)
            effect = None if index is None else self._faults[index].effect
            self._met = [met + fault.meets(call) for met, fault in zip(self._met, self._faults, strict=True)]
            self._seen.append(Seen(call, effect))
            return effect

    def connect(self, *, with_token: bool) -> http.client.HTTPSConnection:
        """A connection to the API server, as the administrator unless the request brings a token."""
        context = self._anyone if with_token else self._admin
        return http.client.HTTPSConnection(self._server.hostname or "", self._server.port, context=context)

    def remember(self, call: Call, body: bytes) -> None:
        """Keep the first answer to a target, for `Stale`."""
        with self._lock:
            self._first.setdefault(call.target, body)

    def first_answer(self, call: Call) -> bytes | None:
        with self._lock:
            return self._first.get(call.target)

    @contextlib.contextmanager
    def watching(self, connection: http.client.HTTPConnection) -> Iterator[None]:
        """For the time of the block `drop_watches` breaks this connection."""
        with self._lock:
            self._watches.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._watches.discard(connection)


@contextlib.contextmanager
def injecting(server: str, certificates: Path) -> Iterator[Injector]:
    """An injector before the API server at `server`, for the time of the block."""
    injector = Injector(server, certificates)
    injector.start()
    try:
        yield injector
    finally:
        injector.stop()


def _handler(injector: Injector) -> type[BaseHTTPRequestHandler]:
    class Handler(_Passing):
        owner = injector

    return Handler


class _Passing(BaseHTTPRequestHandler):
    """One connection of the client's: reads a request, does what its fault says, passes the rest on."""

    owner: Injector
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = call_of(self.command, self.path)
        effect = self.owner.strike(call)
        match effect:
            case Refuse():
                self._answer(effect.code, status(effect), retry_after=effect.retry_after)
            case Hang():
                self.owner.closing.wait()
                self.close_connection = True
            case Stale() if (known := self.owner.first_answer(call)) is not None:
                self._answer(200, known)
            case _:
                self._pass_on(call, body, effect)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names that the base class looks up

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: `seen` has it."""

    def _pass_on(self, call: Call, body: bytes, effect: Effect | None) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN_HEADERS}
        connection = self.owner.connect(with_token="Authorization" in self.headers)
        try:
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            if call.verb == "watch" and answer.status == 200:
                with self.owner.watching(connection):
                    self._stream(answer, effect)
                return
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # as broken for the client as it is for us
            return
        finally:
            connection.close()
        if call.verb in {"get", "list"} and answer.status == 200:
            self.owner.remember(call, content)
        if isinstance(effect, LoseAnswer):
            self.close_connection = True
            return
        if isinstance(effect, Late):
            self.owner.closing.wait(effect.seconds)
        self._answer(answer.status, content, answer.getheader("Content-Type"))

    def _stream(self, answer: http.client.HTTPResponse, effect: Effect | None) -> None:
        """Pass a watch on, a line at a time."""
        self.send_response(200)
        self.send_header("Content-Type", answer.getheader("Content-Type") or "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        limit = effect.events if isinstance(effect, CutWatch | ExpireWatch) else None
        with contextlib.suppress(OSError, http.client.HTTPException):  # either end may go at any time
            for line in itertools.islice(_lines(answer), limit):
                self._chunk(line)
            if isinstance(effect, CutWatch):
                return
            if isinstance(effect, ExpireWatch):
                self._chunk(expired_event())
            self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, line: bytes) -> None:
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def _answer(
        self, code: int, content: bytes, kind: str | None = "application/json", retry_after: int | None = None
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client may have left
            self.wfile.write(content)


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Whole lines as they come. A connection that breaks raises, which `readline` would take for the end."""
    rest = b""
    while piece := answer.read1(READ_BYTES):
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line + b"\n" for line in whole)
