"""A result sink that posts how a task went to a logbook over HTTP, again and again until it is taken, within limits.

One POST of JSON for each task, with the record's id as ``Idempotency-Key``: a logbook that heeds it has no entry twice,
however often it was sent. Only the standard library is used, and no redirection is followed.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from blockyard.errors import BlockyardError, ConfigError
from blockyard.managed.environment import Secret

if TYPE_CHECKING:
    from blockyard.managed.executor import BaseExecutor

URL_VARIABLE: Final = "BLOCKYARD_ELOG_URL"
TOKEN_VARIABLE: Final = "BLOCKYARD_ELOG_TOKEN"
"""``file:PATH`` or ``env:NAME``, as of a `Secret`."""
MOST_BYTES: Final = 1024 * 1024
"""Of an entry; a larger one goes without its payload."""
_MOST_TIMEOUT: Final = 3600.0
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class LogbookFailed(BlockyardError):
    """The logbook did not take an entry; the message has its last answer."""


class HttpLog:
    """Posts to `url`; a sink: ``BinaryExecutor(…, sinks=[HttpLog("https://log.example/entries")])``.

    `token`: sent as ``Authorization: Bearer``. `tries`: with a pause between them that doubles from half a second, or
    is what the logbook asks for by ``Retry-After``, 30 seconds at most. `timeout`: of one try, in seconds.
    """

    def __init__(
        self,
        url: str,
        token: Secret | None = None,
        *,
        tries: int = 5,
        timeout: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises ConfigError for what is no HTTP address, no secret, and no number of tries or seconds."""
        parts = urlsplit(str(url))
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError(f"logbook: {url!r} is no address; give http(s)://HOST/PATH, and a token apart from it")
        if not isinstance(token, Secret | None):
            raise ConfigError('logbook: token is no Secret; give Secret("file:PATH") or Secret("env:NAME")')
        if tries < 1:
            raise ConfigError(f"logbook: tries={tries}; give at least 1")
        if not 0 < timeout < _MOST_TIMEOUT:
            raise ConfigError(f"logbook: timeout={timeout}; give seconds, more than 0 and less than {_MOST_TIMEOUT:g}")
        self._parts, self._token, self._tries, self._timeout, self._sleep = parts, token, tries, timeout, sleep

    def __call__(self, executor: BaseExecutor) -> None:
        """Post. Raises LogbookFailed, ConfigError for a token that can't be read."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": executor.record_id}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.reveal(os.environ)}"
        body, pause, said = _encoded(entry(executor)), _FIRST_PAUSE, ""
        for number in range(1, self._tries + 1):
            try:
                status, said, asked = self._post(body, headers)
                if 200 <= status < 300:
                    return
                if status not in _AGAIN:
                    break
            except (OSError, http.client.HTTPException) as error:
                said, asked = f"{type(error).__name__}: {error}", None
            if number < self._tries:
                self._sleep(min(pause if asked is None else asked, _LONGEST_PAUSE))
                pause *= 2
        raise LogbookFailed(f"logbook at {self._parts.hostname}: not taken after {number} tries; last: {said}")

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, float | None]:
        """Status, what it said, and how long it wants to be left alone."""
        parts = self._parts
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = make(parts.hostname or "", parts.port, timeout=self._timeout)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            words = answer.read(500).decode(errors="replace")
            wait = answer.getheader("Retry-After", "")
            return answer.status, f"{answer.status} {answer.reason}: {words}", float(wait) if wait.isdecimal() else None
        finally:
            connection.close()


def from_environment(executor: BaseExecutor) -> None:
    """The sink ``elog``: posts to ``$BLOCKYARD_ELOG_URL``. Raises as `HttpLog` does; ConfigError without an address."""
    url, token = os.environ.get(URL_VARIABLE, ""), os.environ.get(TOKEN_VARIABLE, "")
    if not url:
        raise ConfigError(f"result sink 'elog': set {URL_VARIABLE}, or use sinks=[HttpLog(url)]")
    HttpLog(url, Secret(token) if token else None)(executor)


def entry(executor: BaseExecutor) -> dict[str, Any]:
    """What a logbook is told of a task that has ended."""
    at, result = executor.course, executor.result
    return {
        "id": executor.record_id,
        "task": executor.task,
        "run": executor.run,
        "step": executor.step,
        "status": at.status.name,
        "reason": at.reason,
        "message": at.message,
        "started": executor.started_at,
        "summary": result.summary,
        "payload": result.payload,
        "metrics": executor.metrics,
        "outputs": [{"name": one.name, "size_bytes": one.size_bytes, "sha256": one.sha256} for one in executor.files],
    }


def _encoded(found: dict[str, Any]) -> bytes:
    body = msgspec.json.encode(found, enc_hook=str)
    return body if len(body) <= MOST_BYTES else msgspec.json.encode({**found, "payload": None}, enc_hook=str)
