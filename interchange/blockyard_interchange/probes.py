"""What probes are told over HTTP: ``/livez``, ``/readyz``. 200 or 503, and one sentence.

From threads of its own, so that a loop that hangs is seen. Imported only where probes are configured: a server of HTTP
is a fifth of all that an interchange imports, and `Client.local` waits for its first result meanwhile.
"""

import http.server
import socket
import socketserver
import threading
import time
from collections.abc import Callable

from blockyard_interchange.health import Health, Verdict


class Probes:
    """The HTTP server, in threads of its own from `start` to `close`."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        """Raises OSError when the address cannot be bound."""
        self._server = _Server((host, port), health)
        self._thread = threading.Thread(target=self._server.serve_forever, name="blockyard-probes", daemon=True)

    @property
    def port(self) -> int:
        """Where it is bound, also when 0 was asked for."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    """Not `http.server.HTTPServer`, which asks the name service for its own name when it starts."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], health: Health) -> None:
        self.health = health
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    timeout = 5.0
    """Seconds for the whole request: one that dribbles holds no thread for long."""
    server_version = "blockyard"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a probe."""
        health = self.server.health
        asked: dict[str, Callable[[float], Verdict]] = {"/livez": health.live, "/readyz": health.ready}
        verdict = asked.get(self.path.partition("?")[0])
        if verdict is None:
            self._say(404, "there are /livez and /readyz")
            return
        is_well, sentence = verdict(time.monotonic())
        self._say(200 if is_well else 503, sentence)

    def _say(self, code: int, sentence: str) -> None:
        body = f"{sentence}\n".encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        """Probes come every few seconds: not a line each."""


__all__ = ["Probes"]
