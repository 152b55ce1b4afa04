"""The stream sink: what happens, as it happens, for who follows through the interchange (`stream_link`), and over HTTP.

The door for HTTP sends Server-Sent Events, on a Unix socket or, with a token, on a port.
``GET /events?kinds=Tries,Block&pools=default&runs=nightly`` sends what comes from now on; with ``after=ID``, or the
header ``Last-Event-ID``, first what came since, as far as it is kept. What a follower was too slow for is told as an
event ``lost`` with its count. (https://html.spec.whatwg.org/multipage/server-sent-events.html)
"""

import contextlib
import hmac
import os
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from operator import attrgetter
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from blockyard.errors import ConfigError
from blockyard.radios import Arrival
from blockyard.wire.monitoring import AnyRecord, ArtefactPart, Config, Use, WorkerTasks, unknown_kinds
from blockyard_monitoring.sinks.ring import Follower, Ring, Shown, Wanted

_BEAT_SECONDS: Final = 10.0
_SEND_SECONDS: Final = 30.0
"""A follower that takes nothing for so long is let go."""
_MOST_FOLLOWERS: Final = 64


_MOST_USES: Final = 1_000
"""In one event."""


def _brief(record: AnyRecord) -> AnyRecord:
    return msgspec.structs.replace(record, body="") if isinstance(record, Config) else record


def gathered(batch: Sequence[Arrival]) -> Iterator[tuple[AnyRecord, str]]:
    """The records of a batch that are shown, with their arrivals' pools; what one worker told of its tries is one.

    A worker reports every few ms, and whoever is shown an event takes about as long for it as for some tries.
    """
    uses: dict[tuple[object, ...], list[Use]] = {}
    for arrival in batch:
        for record in arrival.packet.records:
            if isinstance(record, WorkerTasks):
                key = (arrival.pool, *_WHOSE(record))
                found = uses.get(key)
                if found is None or len(found) >= _MOST_USES:
                    found = uses[key] = []
                    yield msgspec.structs.replace(record, uses=found), arrival.pool
                found += record.uses
            elif not isinstance(record, ArtefactPart):
                yield _brief(record), arrival.pool


_WHOSE: Final = attrgetter("pool", "manager", "block", "node", "worker", "pid", "accelerators")


class StreamSink:
    """`path`: of a Unix socket, for this user alone; or `listen`: ``HOST:PORT`` with a `token`. `keep`: events.

    With neither there is no door of its own.
    """

    must_not_miss = False

    def __init__(self, path: str = "", listen: str = "", token: str = "", keep: int = 20_000) -> None:
        if path and listen:
            raise ConfigError("sink 'stream': give either path= (a Unix socket) or listen=HOST:PORT, or neither")
        host, _, port = listen.rpartition(":")
        if listen and (not host or not port.isdecimal() or int(port) > 65_535):
            raise ConfigError(f"sink 'stream': listen={listen!r}; give HOST:PORT, for example 127.0.0.1:9302")
        if listen and len(token) < 16:
            raise ConfigError("sink 'stream': listen needs a token of at least 16 characters")
        if keep < 1:
            raise ConfigError(f"sink 'stream': keep={keep}; at least 1")
        self._path, self._address, self._token = path, (host, int(port or 0)), token
        self._has_door = bool(path or listen)
        self.ring = Ring(keep)
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """Where it listens, when that is a port, since `start`."""
        return 0 if self._server is None or self._path else int(self._server.server_address[1])

    def start(self) -> None:
        """Listen. Raises ConfigError when that can't be had."""
        if not self._has_door:
            return
        try:
            self._server = _server(self._path, self._address, self.ring, self._token)
        except OSError as error:
            where = self._path or ":".join(map(str, self._address))
            raise ConfigError(f"sink 'stream': {where} cannot be bound: {error.strerror}") from error
        threading.Thread(target=self._server.serve_forever, name="stream", daemon=True).start()

    def write(self, batch: Sequence[Arrival]) -> None:
        """Show; of what managed tasks ran with and left, that it is there."""
        self.ring.append(list(gathered(batch)))

    def quarantine(self, arrival: Arrival, reason: str) -> None:
        """It was logged and counted by who runs this; there is no place for it here."""

    def close(self) -> None:
        """Listen no more, and let all followers go."""
        self.ring.close()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            if self._path:
                Path(self._path).unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    ring: Ring
    token: str
    followers: threading.BoundedSemaphore

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A follower that is gone is no event."""


class _UnixServer(_Server):
    address_family = socket.AF_UNIX


def _server(path: str, address: tuple[str, int], ring: Ring, token: str) -> _Server:
    server: _Server
    if path:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        server = _UnixServer(path, _Handler)  # type: ignore[arg-type]  # typeshed knows TCP addresses only
        os.chmod(path, 0o600)
    else:
        server = _Server(address, _Handler)
    server.ring, server.token = ring, token
    server.followers = threading.BoundedSemaphore(_MOST_FOLLOWERS)
    return server


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SEND_SECONDS

    def do_GET(self) -> None:
        """Serve one follower."""
        url = urlsplit(self.path)
        token = self.server.token
        if token and not hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {token}"):
            self.send_error(401, "a token is needed: Authorization: Bearer TOKEN")
            return
        if url.path != "/events":
            self.send_error(404, "there is /events")
            return
        if not self.server.followers.acquire(blocking=False):
            self.send_error(503, f"there are {_MOST_FOLLOWERS} followers already")
            return
        try:
            asked = parse_qs(url.query)
            kinds, pools, runs = (_names(asked.get(name, [])) for name in ("kinds", "pools", "runs"))
            wanted = Wanted(kinds, pools, runs)
            if fault := unknown_kinds(wanted.kinds):
                self.send_error(400, fault)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self._follow(wanted, self.headers.get("Last-Event-ID") or asked.get("after", [""])[0])
        except (OSError, ValueError):
            pass  # it is gone, or takes nothing any more
        finally:
            self.server.followers.release()

    def log_message(self, *_: object) -> None:
        """A request is no event."""

    def _follow(self, wanted: Wanted, after: str) -> None:
        follower = Follower(self.server.ring, wanted, after)
        self._comment()
        while (shown := follower.next(_BEAT_SECONDS)) is not None:
            for one in shown:
                self._say(one)
            if shown:
                self.wfile.flush()
            elif not follower.has_more:
                self._comment()

    def _say(self, shown: Shown) -> None:
        self.wfile.write(f"id: {shown.id}\nevent: {shown.kind}\ndata: ".encode() + shown.data + b"\n\n")

    def _comment(self) -> None:
        self.wfile.write(b": here\n\n")
        self.wfile.flush()


def _names(values: list[str]) -> frozenset[str]:
    return frozenset(name for value in values for name in value.split(",") if name)
