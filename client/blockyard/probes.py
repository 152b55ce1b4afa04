"""What probes are told over HTTP by a process that serves something else: 200 or 503, and one sentence.

Answered from threads of their own, so that a loop that hangs is seen. What they are told is the process's matter.
Import it only where probes are configured: a server of HTTP is a fifth of all that an interchange imports.
"""

import http.server
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping

Verdict = tuple[bool, str]
"""Whether it is well, and a sentence."""


class Probes:
    """The HTTP server, in threads of its own from `start` to `close`."""

    def __init__(self, answers: Mapping[str, Callable[[], Verdict]], host: str, port: int) -> None:
        """`answers`: by path, called from any thread. Raises OSError when the address cannot be bound."""
        self._server = _Server((host, port), answers)
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

    def __init__(self, address: tuple[str, int], answers: Mapping[str, Callable[[], Verdict]]) -> None:
        self.answers = answers
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
        asked = self.server.answers.get(self.path.partition("?")[0])
        if asked is None:
            self._say(404, f"there are {' and '.join(self.server.answers)}")
            return
        is_well, sentence = asked()
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
