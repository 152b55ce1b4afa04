"""A server of HTTP beside something else: a few requests at a time, and silent or broken ones are no event."""

import threading
from socketserver import BaseServer, ThreadingMixIn
from typing import Any, Final

_MOST_REQUESTS: Final = 8


class FewRequests(ThreadingMixIn, BaseServer):
    """Each in a thread, none of which keeps the process alive; when all are busy, others are turned away."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._free = threading.BoundedSemaphore(_MOST_REQUESTS)
        super().__init__(*arguments, **named)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if one is free."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asks nothing, or is gone before the answer, is not worth a traceback."""
